//! Checks a configuration without starting anything.

use distributary_auth::Authorizer;
use distributary_hub::RenditionCircle;
use distributary_rtmp::RtmpServer;

use crate::candidates;
use crate::certificates;
use crate::config::Config;
use crate::error::StartError;
use crate::listeners;
use crate::logging;
use crate::memory;

/// Returns every reason why the gateway cannot start: rules, files, addresses that collide, an open
/// admin API. Ports are not bound and host names not resolved, because that depends on the moment.
pub fn check(config: &Config) -> Vec<StartError> {
    let mut errors = Vec::new();
    let swf = RtmpServer::check(&config.publishers, &config.pull);
    errors.extend(swf.into_iter().map(StartError::Rtmp));
    let circle = RenditionCircle::find(&config.rendition);
    errors.extend(circle.map(StartError::Renditions));
    let auth = Authorizer::check(&config.auth);
    errors.extend(auth.into_iter().map(StartError::Auth));
    let cluster = config.cluster.check();
    errors.extend(cluster.into_iter().map(StartError::Cluster));
    errors.extend(certificates::check(config));
    errors.extend(listeners::check(config));
    let hosts = candidates::check(&config.advertise);
    errors.extend(hosts.map(StartError::Candidates));
    let log = logging::check(&config.log);
    errors.extend(log.err().map(StartError::Log));
    errors
}

/// Returns what works only in part, or not for long.
pub fn warnings(config: &Config) -> Vec<String> {
    let mut warnings = listeners::warnings(config);
    warnings.extend(certificates::warnings(config));
    warnings.extend(config.auth.warnings());
    warnings.extend(config.cluster.warnings());
    warnings.extend(memory::warnings(config, memory::available()));
    warnings
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the errors of a configuration that can be parsed.
    fn refused(text: &str) -> Vec<String> {
        let config: Config = toml::from_str(text).unwrap();
        check(&config).iter().map(ToString::to_string).collect()
    }

    /// The exact text matters: people act on it.
    #[test]
    fn unusable_values_are_refused_with_the_reason() {
        for (text, words) in [
            (
                "[[pull]]\nmatch = \"live/a\"\nfrom = \"rtmp://b/live/a\"\nswf = \"/nowhere/a.swf\"",
                "[[pull]] match = \"live/a\": swf = \"/nowhere/a.swf\": No such file or directory (os error 2)",
            ),
            (
                "[publishers]\nswf = \"/dev/zero\"",
                "[publishers] swf = \"/dev/zero\": not an SWF file: it begins with neither FWS nor CWS",
            ),
            (
                "[publishers]\nswf = { hash = \"5a\", size = 1000 }",
                "[publishers] swf = { hash = \"5a\" }: expected a hash of 64 hexadecimal digits",
            ),
            (
                "[[rendition]]\nstream = \"live/a\"\nfrom = [\"live/b\"]\n\
                 [[rendition]]\nstream = \"live/b\"\nfrom = [\"live/a\"]",
                "[[rendition]]: live/a is joined to live/b, and live/b is joined to live/a: remove one \
                 of these from \"from\"",
            ),
            (
                "[auth]\npublish = \"keys\"",
                "[[auth.key]]: there is no key for it: add match and keys",
            ),
            (
                "[auth]\nplay = \"jwt\"",
                "[auth.jwt]: set one of secret, public_key and jwks",
            ),
            (
                "[auth]\nplay = \"jwt\"\njwt.jwks = \"/nowhere/keys.json\"",
                "[auth.jwt]: /nowhere/keys.json: No such file or directory (os error 2)",
            ),
            (
                "[auth]\nplay = \"webhook\"",
                "[auth.webhook] play_url = \"\": expected a URL such as http://127.0.0.1:9000/auth",
            ),
            (
                "[https]\nlisten = \"[::]:1\"\ncertificate = \"x.pem\"",
                "HTTPS: set both certificate and key, or neither",
            ),
            (
                "[admin_https]\nlisten = \"127.0.0.1:1\"\nkey = \"x.pem\"",
                "Admin API over HTTPS: set both certificate and key, or neither",
            ),
            (
                "[cluster]\nnats = [\"nats://127.0.0.1:4222\"]\nnode = \"a\"\ntoken = \"t\"\nuser = \"u\"\npassword = \"p\"",
                "[cluster]: set token, or user and password, and not both",
            ),
            (
                "advertise = [\"192.0.2.1\", \"http://x\"]",
                "--advertise or the key advertise: \"http://x\" is not a host: expected a host name or an \
                 address, without http:// and without a port",
            ),
            (
                "advertise = [\"gateway.example:8189\"]",
                "--advertise or the key advertise: \"gateway.example:8189\" is not a host: expected a host \
                 name or an address, without http:// and without a port",
            ),
            (
                "log = \"loud=louder\"",
                "--log or the key log: \"louder\" is not a level; levels are error, warn, info, debug, trace \
                 and off, also by module: warn,distributary_rtmp=debug",
            ),
        ] {
            assert_eq!(refused(text), [words]);
        }
    }

    #[test]
    fn settings_that_do_not_do_what_they_seem_to_do_are_warnings() {
        let config = |text: &str| toml::from_str::<Config>(text).unwrap();
        let found = warnings(&config(
            "https.listen = 1\n[[auth.key]]\nmatch = \"*\"\npublish = [\"a\"]",
        ));
        let [certificate, key] = &found[..] else {
            panic!("two warnings: {found:?}");
        };
        assert!(
            certificate.starts_with("HTTPS: no certificate is configured"),
            "{certificate}"
        );
        assert!(key.contains("set publish = \"keys\""), "{key}");
        let fine = config("advertise = [\"auto\", \"2001:db8::1\", \"gateway_1.example\"]");
        assert!(check(&fine).is_empty());
        assert!(warnings(&fine).is_empty());
    }

    #[test]
    fn every_unusable_value_is_reported() {
        let errors = refused(
            "log = \"\"\nhttp = 1935\n\
             [publishers]\nswf = \"/nowhere/a.swf\"\n\
             [[pull]]\nmatch = \"live/a\"\nfrom = \"rtmp://b/live/a\"\nswf = \"/nowhere/b.swf\"\n\
             [auth]\npublish = \"keys\"\nplay = \"webhook\"\n\
             [https]\nlisten = \"8443\"\nkey = \"x.pem\"\n\
             [admin_https]\nlisten = \"127.0.0.1:8543\"\nkey = \"x.pem\"\n",
        );
        assert_eq!(errors.len(), 8, "{errors:#?}");
    }
}
