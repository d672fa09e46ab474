//! Simulations of fixed seeds.

use distributary_simulate::run;
use distributary_simulate::scenario::Scenario;

#[track_caller]
fn passes(scenario: &Scenario) {
    match run(scenario) {
        Ok(summary) => assert!(summary.sessions > 0),
        Err(failure) => panic!("{failure}"),
    }
}

#[test]
fn viewer_gets_a_stream_over_a_perfect_path() {
    let scenario = Scenario::simplest(1);
    let summary = run(&scenario).unwrap_or_else(|failure| panic!("{failure}"));
    assert!(summary.frames > 300, "{summary:?}");
    passes(&scenario);
}
