//! The certificates of the TLS listeners.

use std::time::SystemTime;

use distributary_tls::Validity;
use distributary_whep::admin::Finding;

use crate::certificates::validities;
use crate::config::Config;

const CHECK: &str = "certificates";

#[expect(
    clippy::disallowed_methods,
    reason = "certificates are checked against the wall clock"
)]
pub(super) fn findings(config: &Config) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (listener, result) in validities(config) {
        match result {
            Ok(validities) if validities.is_empty() => findings.push(
                Finding::warning(
                    CHECK,
                    format!("{listener}: no files are configured, so a certificate is generated"),
                )
                .advise("Browsers warn of it and players refuse it: set certificate and key."),
            ),
            Ok(validities) => {
                let now = SystemTime::now();
                let judged = validities.iter();
                findings.extend(judged.map(|validity| judge(&listener.to_string(), validity, now)));
            }
            Err(error) => findings.push(Finding::error(CHECK, error.to_string())),
        }
    }
    if findings.is_empty() {
        findings.push(Finding::ok(CHECK, "no listener uses TLS"));
    }
    findings
}

fn judge(listener: &str, validity: &Validity, now: SystemTime) -> Finding {
    match validity.warning(now) {
        Some(warning) => Finding::warning(CHECK, format!("{listener}: {warning}")),
        None => Finding::ok(
            CHECK,
            format!(
                "{listener}: {} is valid until {}",
                validity.file.display(),
                validity.until()
            ),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::text;

    #[test]
    fn files_that_cannot_be_used_are_errors() {
        let config: Config = toml::from_str(
            "[https]\nlisten = 1\ncertificate = \"/nowhere/a.pem\"\nkey = \"/nowhere/b.pem\"\n[rtmps]\nlisten = 2\n",
        )
        .unwrap();
        let found = text(&findings(&config));
        assert!(found.contains("error    certificates  HTTPS: "), "{found}");
        assert!(found.contains("/nowhere/a.pem"), "{found}");
        assert!(
            found.contains("warning  certificates  RTMPS: no files are configured"),
            "{found}"
        );
        assert_eq!(
            text(&findings(&Config::default())),
            "ok       certificates  no listener uses TLS\n"
        );
    }
}
