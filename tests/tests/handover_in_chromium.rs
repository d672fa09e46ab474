//! How the player replaces the session of a gateway that ends or is gone: its module in Chromium, with
//! simulated sessions.

use distributary_tests::browser::Browser;
use distributary_tests::gateway::Gateway;
use serde_json::{Value, json};

/// The cases.
const CASES: &str = include_str!("handover.js");

/// Runs a case, and checks what has happened in it.
async fn check(browser: &Browser, name: &str, expected: Value) {
    let happened: Value = browser
        .evaluate(&format!("(async (name) => {{ {CASES} }})('{name}')"))
        .await;
    assert_eq!(happened, expected, "{name}");
}

#[tokio::test]
async fn player_leaves_and_rescues_its_session() {
    let gateway = Gateway::start();
    let browser = Browser::start().await;
    browser.open(&gateway.page_url("live/test")).await;

    check(
        &browser,
        "leaving_tries_one_gateway_after_the_other",
        json!([
            "open fails",
            "close fails",
            // The second attempt is for the first of the alternates, which is the same.
            "open fails",
            "close fails",
            "open plays",
            "plays takes over from old",
            "close old",
            "show plays"
        ]),
    )
    .await;
    check(
        &browser,
        "leaving_ends_when_the_viewer_is_refused",
        json!(["open refuses", "close refuses", false]),
    )
    .await;
    check(
        &browser,
        "leaving_ends_with_the_session",
        json!(["open fails", "close fails"]),
    )
    .await;
    check(
        &browser,
        "rescue_goes_on_to_a_gateway_that_responds",
        json!([
            "open hangs",
            "close hangs",
            "open fails",
            "close fails",
            "open plays",
            "plays takes over from old",
            "close old",
            "show plays"
        ]),
    )
    .await;
    check(
        &browser,
        "rescue_ends_when_the_gateway_is_back",
        json!(["open hangs", "close hangs", true, false, true]),
    )
    .await;
    check(
        &browser,
        "lost_session_that_nobody_replaces_is_given_up_for_the_reason_of_a_refusal",
        json!([
            "open locks",
            "close locks",
            "open fails",
            "close fails",
            "give up: locked"
        ]),
    )
    .await;
    check(
        &browser,
        "rescue_goes_before_leaving",
        json!([
            "open hangs",
            "close hangs",
            "open plays",
            "plays takes over from old",
            "close old",
            "show plays",
            1
        ]),
    )
    .await;
    check(
        &browser,
        "events_of_a_session_wait_until_it_is_shown",
        json!([
            "open connects",
            "connects takes over from old",
            "close old",
            "show connects",
            "inactive of connects",
            "active of connects"
        ]),
    )
    .await;
}
