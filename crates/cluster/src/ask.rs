//! The question who owns a stream.

use std::time::Duration;

use distributary_names::StreamName;

use crate::context::Context;
use crate::control::{Ask, Control, Holds, Waiting};
use crate::link::Reply;

/// Timeout of a question for the owner of a stream.
pub(crate) const ANSWER_TIMEOUT: Duration = Duration::from_millis(250);

/// The answer to the question who owns a stream.
#[derive(Debug)]
pub(crate) enum Asked {
    Held(Holds),
    Nobody,
    Silent,
    /// No server is connected, or the connection was lost before the answer came.
    Away,
}

/// Asks once who owns a stream, for a viewer, or for publishers that wait for the name.
pub(crate) async fn ask_owner(
    context: &Context,
    name: &StreamName,
    waiting: Option<Waiting>,
) -> Asked {
    let subject = context.subjects.owner(name);
    let ask = Ask {
        node: context.node.clone(),
        instance: context.instance,
        waiting,
    };
    match context
        .link
        .ask(&subject, ask.to_json(), ANSWER_TIMEOUT)
        .await
    {
        Reply::Answer(answer) => match Holds::read(&answer) {
            Some(holds) => Asked::Held(holds),
            None => {
                context.note_unreadable(&answer);
                Asked::Silent
            }
        },
        Reply::Nobody => Asked::Nobody,
        Reply::Silent => Asked::Silent,
        Reply::Away => Asked::Away,
    }
}
