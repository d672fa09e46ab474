//! Targets for the configuration of the gateway.

use std::path::Path;

use distributary_gateway::config::reading::Reading;
use distributary_hub::RenditionCircle;

/// Largest text that is worth reading.
const MAX_TEXT: usize = 16 << 10;

/// Most errors that are reported for one file.
const MAX_ERRORS: usize = 50;

/// A configuration file. Lines behind a NUL are environment variables, `NAME=VALUE`. Each error
/// can be shown, and a configuration without errors can be written and read again.
pub fn configuration(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data.get(..data.len().min(MAX_TEXT)).unwrap_or_default())
    else {
        return;
    };
    let (file, variables) = text.split_once('\0').unwrap_or((text, ""));
    let path = Path::new("distributary.toml");
    let reading = Reading::of_text(path, file);
    assert!(reading.errors.len() <= MAX_ERRORS);
    let variables = variables.lines().filter_map(|line| {
        let (name, value) = line.split_once('=')?;
        Some((name.to_owned(), value.to_owned()))
    });
    let reading = reading.with_environment(variables);
    for error in &reading.errors {
        assert!(!error.to_string().is_empty());
    }
    let Ok(config) = reading.result() else {
        return;
    };
    let _ = (config.front(), config.hub(), config.offline_grace());
    let _ = RenditionCircle::find(&config.rendition);
    let _ = config.auth.warnings();
    let written = toml::to_string(&config).expect("a configuration can be written");
    let again = Reading::of_text(path, &written).result();
    let again = again.unwrap_or_else(|errors| panic!("{errors}\nin {written}"));
    assert_eq!(again, config, "{written}");
}
