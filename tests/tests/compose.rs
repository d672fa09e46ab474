//! The sample for containers is valid for compose.

use std::process::Command;

#[test]
fn compose_accepts_every_profile() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../docker-compose.yml");
    let output = Command::new("docker-compose")
        .args(["-f", file, "config", "--services"])
        .output()
        .expect("docker-compose can be run");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    let services = String::from_utf8_lossy(&output.stdout);
    let mut services: Vec<_> = services.lines().collect();
    services.sort_unstable();
    assert_eq!(
        services,
        [
            "gateway",
            "gateway-demo",
            "gateway-ports",
            "grafana",
            "prometheus",
            "turn"
        ]
    );
}
