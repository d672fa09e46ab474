//! Checks a configuration without starting anything.

use distributary_auth::Authorizer;
use distributary_rtmp::RtmpServer;

use crate::certificates;
use crate::config::Config;
use crate::error::StartError;
use crate::logging;

/// Checks everything that would prevent a start: rules, files, an open admin API. Ports and host
/// names are not checked, because they depend on the machine.
///
/// # Errors
/// Returns the first error.
pub fn check(config: &Config) -> Result<(), StartError> {
    RtmpServer::check(&config.publishers, &config.pull).map_err(StartError::Rtmp)?;
    Authorizer::new(config.auth.clone())?;
    certificates::check(config)?;
    logging::check(&config.log)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the error of a configuration that can be parsed.
    fn refused(text: &str) -> String {
        let config: Config = toml::from_str(text).unwrap();
        check(&config).unwrap_err().to_string()
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
                "[admin_https]\nlisten = \"[::]:1\"\nkey = \"x.pem\"",
                "Admin API over HTTPS: set both certificate and key, or neither",
            ),
            (
                "log = \"loud=louder\"",
                "--log or the key log: \"loud=louder\" is not a level (error, warn, info, debug, trace): ",
            ),
        ] {
            let said = refused(text);
            let is_whole = !words.ends_with(' ');
            assert!(said.starts_with(words), "{said}\n{words}");
            assert!(!is_whole || said == words, "{said}\n{words}");
        }
    }
}
