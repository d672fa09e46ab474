//! Whether a configuration can be used, without starting anything.

use distributary_auth::Authorizer;

use crate::config::{Config, Pull};
use crate::error::StartError;
use crate::gateway;
use crate::logging;

/// Looks at everything that the start would stumble over: rules, files, addresses that are open to all.
/// Ports and names are not looked at, which are another matter on another machine.
///
/// # Errors
/// The first thing that is wrong.
pub fn check(config: &Config) -> Result<(), StartError> {
    config.hub()?;
    config.whep()?;
    config.access()?;
    for pull in &config.pull {
        Pull::rule(pull)?;
    }
    Authorizer::new(config.auth.rules()?)?;
    gateway::check_certificates(config)?;
    logging::check(&config.log)?;
    Ok(())
}
