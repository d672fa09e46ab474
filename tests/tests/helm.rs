//! The Helm chart makes what Kubernetes and the gateway accept.

use std::collections::BTreeMap;
use std::fs;

use distributary_tests::gateway;
use distributary_tests::helm::{self, Rendered, render, resources};
use serde_json::{Value, json};

/// Values that turn on everything.
fn everything() -> Value {
    json!({
        "replicas": 3,
        "hostNetwork": false,
        "config": "log = \"debug\"\n\n[viewers]\nmax = 5\n",
        "advertise": ["$(NODE_IP)", "192.0.2.7"],
        "secret": { "data": { "DISTRIBUTARY_ADMIN_TOKEN": "a token: \"quoted\"" } },
        "admin": { "expose": true },
        "tls": { "https": "web", "rtmps": "ingest" },
        "cluster": {
            "nats": ["nats://nats-0:4222", "nats://nats-1:4222"],
            "publicUrl": "https://$(NODE_NAME).example:8443",
            "tls": { "secret": "nats-tls", "client": true },
        },
        "service": { "type": "LoadBalancer", "externalTrafficPolicy": "Local" },
        "ingress": { "enabled": true, "className": "nginx", "hosts": ["live.example.com"] },
        "serviceMonitor": { "enabled": true, "labels": { "release": "prometheus" } },
        "networkPolicy": { "enabled": true, "adminFrom": [{ "namespaceSelector": {} }] },
        "nodeSelector": { "distributary": "true" },
        "tolerations": [{ "operator": "Exists" }],
        "imagePullSecrets": ["registry"],
        "extraEnv": [{ "name": "SSL_CERT_FILE", "value": "/extra/ca.pem" }],
        "extraVolumes": [{ "name": "extra", "configMap": { "name": "extra" } }],
        "extraVolumeMounts": [{ "name": "extra", "mountPath": "/extra" }],
    })
}

fn kinds(resources: &[Value]) -> Vec<&str> {
    let mut kinds: Vec<_> = resources
        .iter()
        .filter_map(|resource| resource["kind"].as_str())
        .collect();
    kinds.sort_unstable();
    kinds
}

/// Returns the specification of the pods.
fn pod(resources: &[Value]) -> &Value {
    let set = resources
        .iter()
        .find(|resource| resource["kind"] == "StatefulSet");
    &set.expect("there is one")["spec"]["template"]["spec"]
}

/// Returns the variables of the gateway's container, as Kubernetes sets them.
fn environment(pod: &Value) -> BTreeMap<String, String> {
    let mut environment: BTreeMap<String, String> = BTreeMap::new();
    for entry in pod["containers"][0]["env"].as_array().expect("a list") {
        let name = entry["name"].as_str().expect("a name");
        let field = entry["valueFrom"]["fieldRef"]["fieldPath"].as_str();
        let value = match (entry["value"].as_str(), field) {
            (Some(value), _) => expanded(value, &environment),
            (_, Some("status.hostIP")) => "192.0.2.1".to_owned(),
            (_, Some("spec.nodeName")) => "node-1.internal".to_owned(),
            (_, Some("metadata.name")) => "live-distributary-0".to_owned(),
            _ => panic!("{entry}"),
        };
        environment.insert(name.to_owned(), value);
    }
    environment
}

/// Returns a value in which the variables before it are replaced.
fn expanded(value: &str, before: &BTreeMap<String, String>) -> String {
    let mut value = value.to_owned();
    for (name, replacement) in before {
        value = value.replace(&format!("$({name})"), replacement);
    }
    value
}

#[test]
fn resources_are_valid() {
    let fewest = resources(&json!({}));
    assert_eq!(
        kinds(&fewest),
        ["ConfigMap", "Service", "Service", "StatefulSet"]
    );
    let most = resources(&everything());
    assert_eq!(
        kinds(&most),
        [
            "ConfigMap",
            "Ingress",
            "NetworkPolicy",
            "PodDisruptionBudget",
            "Secret",
            "Service",
            "Service",
            "ServiceMonitor",
            "StatefulSet",
        ]
    );
}

#[test]
fn gateway_accepts_the_environment_of_a_pod() {
    // Without the files of the certificates, which are not here.
    let mut values = everything();
    values["tls"] = json!({});
    values["cluster"]["tls"] = json!({});
    let made = resources(&values);
    let mut environment = environment(pod(&made));
    assert_eq!(environment["DISTRIBUTARY_ADVERTISE"], "192.0.2.1,192.0.2.7");
    assert_eq!(
        environment["DISTRIBUTARY_CLUSTER_NODE"],
        "live-distributary-0"
    );
    environment.insert("DISTRIBUTARY_ADMIN_TOKEN".to_owned(), "token".to_owned());
    environment.remove("SSL_CERT_FILE");
    let run = gateway::run_in(&environment, &["check"]);
    assert_eq!(run.status.code(), Some(0), "{run:?}");
    // Not even a warning, such as for a variable that is no key.
    let printed = format!("{}{}", run.stdout, run.stderr);
    assert!(!printed.contains("DISTRIBUTARY_"), "{printed}");
}

#[test]
fn configuration_arrives_as_it_is() {
    for config in [
        "  log = \"debug\"\n[viewers]\nmax = 5\n",
        "\n\n  # A comment with {{ braces }}: 'and' <quotes>\n\tlog = \"info\"",
        "log = \"info\"\n\n\n",
    ] {
        let made = resources(&json!({ "config": config }));
        let map = made.iter().find(|one| one["kind"] == "ConfigMap");
        assert_eq!(
            map.expect("there is one")["data"],
            json!({ "distributary.toml": config })
        );
    }
}

#[test]
fn pod_that_ends_has_time_to_drain() {
    let values = json!({ "drain": { "waitSeconds": 7, "timeoutSeconds": 40 } });
    let made = resources(&values);
    let pod = pod(&made);
    let grace = pod["terminationGracePeriodSeconds"].as_u64();
    assert!(grace.is_some_and(|grace| grace > 47), "{pod}");
    assert_eq!(
        pod["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"],
        7
    );
    assert_eq!(environment(pod)["DISTRIBUTARY_DRAIN_TIMEOUT"], "40s");
}

#[test]
fn secrets_are_in_no_other_resource() {
    let token = "a token: \"quoted\"";
    for resource in resources(&everything()) {
        let has_token = resource.to_string().contains(&json!(token).to_string());
        assert_eq!(has_token, resource["kind"] == "Secret", "{resource}");
    }
}

#[test]
fn values_that_cannot_work_are_refused() {
    for (values, reason) in [
        (json!({ "replica": 2 }), "replica"),
        (json!({ "replicas": "two" }), "replicas"),
        (
            json!({ "admin": { "expose": true } }),
            "DISTRIBUTARY_ADMIN_TOKEN",
        ),
        (
            json!({ "serviceMonitor": { "enabled": true } }),
            "admin.expose",
        ),
        (
            json!({ "networkPolicy": { "enabled": true } }),
            "hostNetwork",
        ),
        (
            json!({ "secret": { "data": { "PASSWORD": "text" } } }),
            "PASSWORD",
        ),
        (json!({ "cluster": { "nats": ["10.0.0.1:4222"] } }), "nats"),
    ] {
        match render(&values) {
            Rendered::Refused { refused } => assert!(refused.contains(reason), "{refused}"),
            Rendered::Made { .. } => panic!("{values} is accepted"),
        }
    }
}

/// Returns the paths of values that a page does not name, neither themselves nor as a whole.
fn unnamed(path: &str, value: &Value, page: &str) -> Vec<String> {
    if page.contains(&format!("`{path}`")) {
        return Vec::new();
    }
    match value.as_object() {
        Some(fields) if !fields.is_empty() => fields
            .iter()
            .flat_map(|(name, value)| unnamed(&format!("{path}.{name}"), value, page))
            .collect(),
        _ => vec![path.to_owned()],
    }
}

#[test]
fn page_of_the_chart_names_every_value() {
    let page = fs::read_to_string(helm::folder().join("README.md")).expect("it has a page");
    let Rendered::Made { defaults, .. } = render(&json!({})) else {
        panic!("the defaults are refused");
    };
    let values = defaults.as_object().expect("they have names");
    assert!(values.contains_key("replicas"), "{defaults}");
    let unnamed: Vec<_> = values
        .iter()
        .flat_map(|(name, value)| unnamed(name, value, &page))
        .collect();
    assert!(unnamed.is_empty(), "{unnamed:?}");
}
