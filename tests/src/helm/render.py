"""Renders a Helm chart by Helm's own library, and checks the result.

    render.py CHART VALUES

VALUES is JSON. It prints {"refused": reason} if Helm refuses the values, or else {"manifests": [...], "complaints":
[...], "defaults": {...}}. The complaints are what `helm lint` warns of, and what Kubernetes would refuse.
"""

import json
import sys

import helm_python
import kubernetes_validate
import yaml

# The oldest that the chart supports, and the newest known.
KUBERNETES = ("1.30", "1.37")
WARNING = 2


def documents(rendered):
    for file, text in sorted(rendered.items()):
        if file.endswith(".yaml"):
            for document in yaml.safe_load_all(text):
                if document:
                    yield document


def complaints(path, values, manifests):
    report = helm_python.lint(path, values, strict=True)
    yield from report["errors"]
    for message in report["messages"]:
        if message["severity"] >= WARNING:
            yield message["error"]
    for manifest in manifests:
        # Of the Prometheus operator: Kubernetes itself does not know it.
        if manifest["kind"] == "ServiceMonitor":
            continue
        for version in KUBERNETES:
            try:
                kubernetes_validate.validate(manifest, version, strict=True)
            except kubernetes_validate.ValidationError as error:
                yield f"{manifest['kind']}, Kubernetes {version}: {error.message}"


def main():
    path, values = sys.argv[1], json.loads(sys.argv[2])
    chart = helm_python.Chart.load(path)
    try:
        rendered = chart.render(values, name="live", namespace="media")
    except helm_python.HelmError as error:
        print(json.dumps({"refused": str(error)}))
        return
    manifests = list(documents(rendered))
    found = list(complaints(path, values, manifests))
    print(json.dumps({"manifests": manifests, "complaints": found, "defaults": chart.values}))


main()
