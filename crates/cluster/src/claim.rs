//! The claim of a stream's name, as a state machine.
//!
//! ```text
//! read the arbiter's entry ─► ask for the owner ─► listen for such questions ─► write the entry
//!          ▲                                                                         │
//!          └───────────────────────── somebody else has written it ──────────────────┘
//! ```
//!
//! The entry is written at the revision that was read *before* the question, so that of two nodes
//! that claim a name at once one fails. Whoever writes listens before it writes, so that the one
//! that fails finds the other one when it asks again. The revision of the written entry is the
//! *epoch*: a later owner has a higher one.

use crate::config::{Label, WithoutArbiter};
use crate::epoch::{is_earlier_claim, is_provisional};

/// Questions without an answer after which somebody who listens counts as dead.
pub(crate) const MAX_SILENT: u8 = 3;

/// The same for the owner in a live entry whose node has not left the cluster. At 250 ms each they
/// take two seconds: for longer than a node takes to notice that its NATS server stands still, and
/// to connect to another one.
const MAX_UNREACHED: u8 = 8;

/// Attempts to write the entry. Each one that fails means that another node has written.
const MAX_ATTEMPTS: u8 = 5;

/// The next step of a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Read the entry.
    Read,
    /// Ask for the owner.
    Ask,
    /// Wait as long as for an answer, then ask for the owner.
    AskLater,
    /// Listen for such questions from now on, and answer them once the claim is decided.
    Listen,
    /// Write the entry at this revision, 0 if there must be none.
    Write(u64),
}

/// The outcome of a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// The entry was read.
    Read(EntryState),
    /// A node owns the stream.
    Held(Holder),
    /// Nobody listens for the question.
    Nobody,
    /// Somebody listens, and does not answer in time.
    Silent,
    /// The question was lost with the connection. Another server is connected by now, or was not in
    /// time.
    Away,
    /// Questions arrive from now on.
    Listening,
    /// Questions do not arrive: the connection takes no subscription.
    NotListening,
    /// The entry was written, at this revision.
    Written(u64),
    /// The entry was not written, because it has another revision by now.
    Conflict,
    /// The arbiter does not answer.
    Unavailable,
}

/// The entry of a name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct EntryState {
    /// Its revision; 0 if there is none.
    pub(crate) revision: u64,
    /// True if its owner has not removed it.
    pub(crate) is_live: bool,
    /// True if the node of its owner has left the cluster.
    pub(crate) has_left: bool,
}

/// The owner that has answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Holder {
    pub(crate) node: Label,
    pub(crate) epoch: u64,
    /// It lets this node have the name.
    pub(crate) gives_way: bool,
}

/// The outcome of a claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The name is owned, in this epoch.
    Owned(u64),
    /// The name may be used until the arbiter answers.
    Provisional,
    /// Another node owns it.
    Elsewhere(Option<Label>),
    /// The arbiter does not answer.
    NoArbiter,
}

/// A claim in progress.
#[derive(Debug)]
pub(crate) struct Claim {
    /// Takes the name from another owner.
    replaces: bool,
    without: WithoutArbiter,
    /// The epoch in which the claimant uses the name provisionally, if it does.
    provisional: Option<u64>,
    /// The entry that was read; `None` if the arbiter does not answer.
    entry: Option<EntryState>,
    silent: u8,
    /// The claimant has asked for the owner for some time.
    stands_by: bool,
    /// Questions without an answer just before the claim.
    silent_before: u8,
    attempts: u8,
}

impl Claim {
    /// Returns a claim, and its first step. One that `replaces` takes the name from its owner.
    pub(crate) fn begin(replaces: bool, without: WithoutArbiter) -> (Self, Step) {
        let claim = Self {
            replaces,
            without,
            provisional: None,
            entry: None,
            silent: 0,
            stands_by: false,
            silent_before: 0,
            attempts: 0,
        };
        (claim, Step::Read)
    }

    /// Returns the claim of a node that has asked for the owner for some time, so that one for which
    /// nobody listens is gone.
    pub(crate) fn after_waiting(self) -> Self {
        Self {
            stands_by: true,
            ..self
        }
    }

    /// Counts a question just before the claim that had no answer.
    pub(crate) fn after_silence(self) -> Self {
        Self {
            silent_before: 1,
            ..self
        }
    }

    /// Returns the claim of a node that already uses the name provisionally, in this epoch.
    pub(crate) fn confirm(epoch: u64) -> (Self, Step) {
        let (claim, step) = Self::begin(false, WithoutArbiter::Allow);
        let claim = Self {
            provisional: Some(epoch),
            ..claim
        };
        (claim, step)
    }

    /// Handles what came of the last step. Returns the next one, or the outcome.
    pub(crate) fn handle(&mut self, event: Event) -> Result<Step, Verdict> {
        match event {
            Event::Read(entry) => {
                self.entry = Some(entry);
                self.silent = std::mem::take(&mut self.silent_before);
                Ok(Step::Ask)
            }
            Event::Held(holder) => self.found(holder),
            // The owner may be connecting to another server, or the news that it listens is still
            // on its way between the servers.
            Event::Nobody if self.must_find_owner() => self.retry(Step::AskLater),
            Event::Nobody => Ok(Step::Listen),
            Event::Silent => self.retry(Step::Ask),
            // The arbiter may have been away for the same reason.
            Event::Away if self.entry.is_none() => self.again(Step::Read),
            Event::Away => self.again(Step::Ask),
            Event::Listening => match self.entry {
                Some(entry) => Ok(Step::Write(entry.revision)),
                None => Err(self.unconfirmed()),
            },
            // Whoever claims a name has to answer for it.
            Event::NotListening => Err(self.unconfirmed()),
            Event::Written(epoch) => Err(Verdict::Owned(epoch)),
            Event::Conflict => {
                self.attempts += 1;
                if self.attempts < MAX_ATTEMPTS {
                    Ok(Step::Read)
                } else {
                    Err(Verdict::Elsewhere(None))
                }
            }
            // Somebody may own the name all the same.
            Event::Unavailable if self.entry.is_none() => Ok(Step::Ask),
            Event::Unavailable => Err(self.unconfirmed()),
        }
    }

    fn found(&self, holder: Holder) -> Result<Step, Verdict> {
        if holder.gives_way || self.replaces || !self.yields_to(&holder) {
            Ok(Step::Listen)
        } else {
            Err(Verdict::Elsewhere(Some(holder.node)))
        }
    }

    /// Returns whether the name is the holder's unless it gives way. Of two nodes that use a name
    /// provisionally, the arbiter chooses one; while it is away, the earlier claim counts.
    fn yields_to(&self, holder: &Holder) -> bool {
        match self.provisional {
            Some(own) if is_provisional(holder.epoch) => {
                self.entry.is_none() && is_earlier_claim(holder.epoch, own)
            }
            _ => true,
        }
    }

    /// Takes a step again after a question without an answer, unless there need not be one.
    fn retry(&mut self, step: Step) -> Result<Step, Verdict> {
        // A provisional claimant is among those that listen, and does not answer itself. A live
        // entry has another owner, whose answer may get lost.
        if self.provisional.is_some() && !self.has_live_entry() {
            Ok(Step::Listen)
        } else {
            self.again(step)
        }
    }

    /// Takes a step again after a question without an answer, unless there were too many.
    fn again(&mut self, step: Step) -> Result<Step, Verdict> {
        self.silent += 1;
        let most = if self.must_find_owner() {
            MAX_UNREACHED
        } else {
            MAX_SILENT
        };
        if self.silent >= most {
            Ok(Step::Listen)
        } else {
            Ok(step)
        }
    }

    /// Returns whether the entry has an owner that must not be replaced as long as it may be there.
    /// The one that has written it just now is there.
    fn must_find_owner(&self) -> bool {
        let may_be_gone = self.stands_by || self.entry.is_some_and(|entry| entry.has_left);
        let may_be_gone = may_be_gone && self.attempts == 0;
        self.has_live_entry() && !self.replaces && !may_be_gone
    }

    fn has_live_entry(&self) -> bool {
        self.entry.is_some_and(|entry| entry.is_live)
    }

    /// Returns the outcome without an arbiter.
    fn unconfirmed(&self) -> Verdict {
        match self.without {
            WithoutArbiter::Allow => Verdict::Provisional,
            WithoutArbiter::Refuse => Verdict::NoArbiter,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn entry(revision: u64, is_live: bool) -> Event {
        Event::Read(EntryState {
            revision,
            is_live,
            has_left: false,
        })
    }

    /// Returns the live entry of a node that has left the cluster.
    fn left(revision: u64) -> Event {
        Event::Read(EntryState {
            revision,
            is_live: true,
            has_left: true,
        })
    }

    fn held(provisional: bool, gives_way: bool) -> Event {
        Event::Held(Holder {
            node: "a".parse().unwrap(),
            epoch: if provisional { OWN - 1 } else { 4 },
            gives_way,
        })
    }

    /// Returns the answer of a node that uses the name provisionally, in this epoch.
    fn held_provisionally(epoch: u64) -> Event {
        Event::Held(Holder {
            node: "a".parse().unwrap(),
            epoch,
            gives_way: false,
        })
    }

    fn elsewhere() -> Verdict {
        Verdict::Elsewhere(Some("a".parse().unwrap()))
    }

    /// Runs a claim through these events, and checks each step.
    fn run(claim: (Claim, Step), events: &[(Step, Event)]) -> Result<Step, Verdict> {
        let (mut claim, step) = claim;
        let mut next = Ok(step);
        for (expected, event) in events {
            assert_eq!(next, Ok(*expected));
            next = claim.handle(event.clone());
        }
        next
    }

    fn begin(replaces: bool) -> (Claim, Step) {
        Claim::begin(replaces, WithoutArbiter::Allow)
    }

    #[test]
    fn free_name_is_owned_at_the_revision_that_was_written() {
        let events = [
            (Step::Read, entry(0, false)),
            (Step::Ask, Event::Nobody),
            (Step::Listen, Event::Listening),
            (Step::Write(0), Event::Written(9)),
        ];
        assert_eq!(run(begin(false), &events), Err(Verdict::Owned(9)));
    }

    #[test]
    fn owned_name_is_refused_unless_the_claim_replaces_or_the_owner_gives_way() {
        let events = [
            (Step::Read, entry(4, true)),
            (Step::Ask, held(false, false)),
        ];
        assert_eq!(run(begin(false), &events), Err(elsewhere()));
        assert_eq!(run(begin(true), &events), Ok(Step::Listen));
        let events = [(Step::Read, entry(4, true)), (Step::Ask, held(false, true))];
        assert_eq!(run(begin(false), &events), Ok(Step::Listen));
    }

    #[test]
    fn owner_is_dead_after_two_seconds_without_an_answer() {
        let (mut claim, _) = begin(false);
        let mut next = claim.handle(entry(4, true));
        for asked in 0..8 {
            assert!(
                matches!(next, Ok(Step::Ask | Step::AskLater)),
                "{asked}: {next:?}"
            );
            // As while its NATS server stands still, and then after it has failed.
            next = claim.handle(if asked < 4 {
                Event::Silent
            } else {
                Event::Nobody
            });
        }
        assert_eq!(next, Ok(Step::Listen));
        assert_eq!(claim.handle(Event::Listening), Ok(Step::Write(4)));
    }

    #[test]
    fn name_of_a_node_that_has_left_is_free_at_once_if_nobody_listens() {
        let events = [(Step::Read, left(4)), (Step::Ask, Event::Nobody)];
        assert_eq!(run(begin(false), &events), Ok(Step::Listen));
        let events = [
            (Step::Read, left(4)),
            (Step::Ask, Event::Silent),
            (Step::Ask, Event::Silent),
            (Step::Ask, Event::Silent),
        ];
        assert_eq!(run(begin(false), &events), Ok(Step::Listen));
    }

    #[test]
    fn claim_that_replaces_does_not_wait_for_the_owner() {
        let events = [(Step::Read, entry(4, true)), (Step::Ask, Event::Nobody)];
        assert_eq!(run(begin(true), &events), Ok(Step::Listen));
    }

    #[test]
    fn entry_is_not_written_while_questions_do_not_arrive() {
        let events = [
            (Step::Read, entry(0, false)),
            (Step::Ask, Event::Nobody),
            (Step::Listen, Event::NotListening),
        ];
        assert_eq!(run(begin(false), &events), Err(Verdict::Provisional));
        let refuse = Claim::begin(false, WithoutArbiter::Refuse);
        assert_eq!(run(refuse, &events), Err(Verdict::NoArbiter));
    }

    #[test]
    fn claim_goes_on_once_another_server_is_connected() {
        let rest = [
            (Step::Read, entry(4, false)),
            (Step::Ask, Event::Nobody),
            (Step::Listen, Event::Listening),
            (Step::Write(4), Event::Written(5)),
        ];
        let read_before = [(Step::Read, entry(4, false)), (Step::Ask, Event::Away)];
        let events = [&read_before[..], &rest[1..]].concat();
        for claim in [begin(false), Claim::confirm(OWN)] {
            assert_eq!(run(claim, &events), Err(Verdict::Owned(5)));
        }
        let read_afterwards = [(Step::Read, Event::Unavailable), (Step::Ask, Event::Away)];
        let events = [&read_afterwards[..], &rest[..]].concat();
        for claim in [begin(false), Claim::confirm(OWN)] {
            assert_eq!(run(claim, &events), Err(Verdict::Owned(5)));
        }
    }

    #[test]
    fn without_a_server_the_policy_decides_after_a_few_questions() {
        let away = [(Step::Read, Event::Unavailable), (Step::Ask, Event::Away)];
        let events = [&away[..], &away, &away].concat();
        let listen = [(Step::Listen, Event::NotListening)];
        let events = [&events[..], &listen].concat();
        assert_eq!(run(begin(false), &events), Err(Verdict::Provisional));
        let refuse = Claim::begin(false, WithoutArbiter::Refuse);
        assert_eq!(run(refuse, &events), Err(Verdict::NoArbiter));
    }

    #[test]
    fn silence_before_a_claim_counts_once() {
        let (claim, step) = begin(false);
        let events = [
            (Step::Read, entry(4, true)),
            (Step::Ask, Event::Silent),
            (Step::Ask, Event::Silent),
            (Step::Listen, Event::Listening),
            (Step::Write(4), Event::Conflict),
            (Step::Read, entry(5, true)),
            (Step::Ask, Event::Silent),
            (Step::Ask, Event::Silent),
        ];
        let claim = claim.after_waiting().after_silence();
        let next = run((claim, step), &events);
        assert_eq!(next, Ok(Step::Ask));
    }

    #[test]
    fn loser_of_two_claims_at_once_finds_the_winner() {
        let events = [
            (Step::Read, entry(4, false)),
            (Step::Ask, Event::Nobody),
            (Step::Listen, Event::Listening),
            (Step::Write(4), Event::Conflict),
            (Step::Read, entry(5, true)),
            // The news that the winner listens is not here yet.
            (Step::Ask, Event::Nobody),
            (Step::AskLater, held(false, false)),
        ];
        assert_eq!(run(begin(false), &events), Err(elsewhere()));
    }

    #[test]
    fn without_arbiter_the_policy_decides_unless_somebody_owns_the_name() {
        let events = [
            (Step::Read, Event::Unavailable),
            (Step::Ask, Event::Nobody),
            (Step::Listen, Event::Listening),
        ];
        assert_eq!(run(begin(false), &events), Err(Verdict::Provisional));
        let refuse = Claim::begin(false, WithoutArbiter::Refuse);
        assert_eq!(run(refuse, &events), Err(Verdict::NoArbiter));
        let events = [
            (Step::Read, Event::Unavailable),
            (Step::Ask, held(false, false)),
        ];
        assert_eq!(run(begin(false), &events), Err(elsewhere()));
        let events = [
            (Step::Read, entry(4, false)),
            (Step::Ask, Event::Nobody),
            (Step::Listen, Event::Listening),
            (Step::Write(4), Event::Unavailable),
        ];
        assert_eq!(run(begin(false), &events), Err(Verdict::Provisional));
    }

    #[test]
    fn of_two_provisional_owners_the_arbiter_chooses_one() {
        let won = [
            (Step::Read, entry(4, false)),
            (Step::Ask, held(true, false)),
            (Step::Listen, Event::Listening),
            (Step::Write(4), Event::Written(5)),
        ];
        assert_eq!(run(Claim::confirm(OWN), &won), Err(Verdict::Owned(5)));
        let lost = [
            (Step::Read, entry(4, false)),
            (Step::Ask, held(true, false)),
            (Step::Listen, Event::Listening),
            (Step::Write(4), Event::Conflict),
            (Step::Read, entry(5, true)),
            (Step::Ask, held(false, false)),
        ];
        assert_eq!(run(Claim::confirm(OWN), &lost), Err(elsewhere()));
        let alone = [(Step::Read, entry(4, false)), (Step::Ask, Event::Silent)];
        assert_eq!(run(Claim::confirm(OWN), &alone), Ok(Step::Listen));
    }

    #[test]
    fn without_arbiter_a_provisional_owner_leaves_the_name_to_a_confirmed_one() {
        let events = [
            (Step::Read, Event::Unavailable),
            (Step::Ask, held(false, false)),
        ];
        assert_eq!(run(Claim::confirm(OWN), &events), Err(elsewhere()));
        let goes_on = [
            held(false, true),
            Event::Nobody,
            // Its own question is all that arrives at its subscription.
            Event::Silent,
        ];
        for answer in goes_on {
            let events = [
                (Step::Read, Event::Unavailable),
                (Step::Ask, answer),
                (Step::Listen, Event::Listening),
            ];
            let verdict = run(Claim::confirm(OWN), &events);
            assert_eq!(verdict, Err(Verdict::Provisional));
        }
    }

    #[test]
    fn without_arbiter_the_earlier_of_two_provisional_owners_keeps_the_name() {
        let asked = |epoch| {
            [
                (Step::Read, Event::Unavailable),
                (Step::Ask, held_provisionally(epoch)),
            ]
        };
        assert_eq!(
            run(Claim::confirm(OWN), &asked(OWN - 1)),
            Err(elsewhere()),
            "the other one is earlier"
        );
        let later = run(Claim::confirm(OWN), &asked(OWN + 1));
        assert_eq!(later, Ok(Step::Listen));
    }

    /// The epoch of a provisional owner.
    const OWN: u64 = 1 << 63 | 1_000;

    /// An arbiter and the nodes that claim one name.
    #[derive(Default)]
    struct Simulation {
        entry: EntryState,
        listening: Vec<bool>,
        owner: Vec<Option<u64>>,
    }

    impl Simulation {
        fn step(&mut self, node: usize, step: Step) -> Event {
            match step {
                Step::Read => Event::Read(self.entry),
                Step::Ask | Step::AskLater => {
                    let others = (0..self.listening.len()).filter(|other| *other != node);
                    let mut listening = others.filter(|other| self.listening[*other]).peekable();
                    if listening.peek().is_none() {
                        return Event::Nobody;
                    }
                    let current = self.entry.revision;
                    match listening.find(|other| self.owner[*other] == Some(current)) {
                        Some(_) => held(false, false),
                        // A claimant answers when its claim is decided.
                        None => Event::Silent,
                    }
                }
                Step::Listen => {
                    self.listening[node] = true;
                    Event::Listening
                }
                Step::Write(revision) if revision == self.entry.revision => {
                    self.entry = EntryState {
                        revision: revision + 1,
                        is_live: true,
                        has_left: false,
                    };
                    self.owner[node] = Some(revision + 1);
                    Event::Written(revision + 1)
                }
                Step::Write(_) => Event::Conflict,
            }
        }
    }

    proptest! {
        #[test]
        fn provisional_claimant_leaves_a_name_to_its_owner_despite_lost_answers(
            revision in 1_u64..100,
            conflicts in 0_u8..MAX_ATTEMPTS,
            silent in 0..MAX_SILENT,
        ) {
            let (mut claim, mut step) = Claim::confirm(OWN);
            // Entries that are not live at first: the name seems to be free.
            for round in 0..conflicts {
                prop_assert_eq!(step, Step::Read);
                let read = entry(revision + u64::from(round), false);
                for event in [read, Event::Silent, Event::Listening] {
                    step = claim.handle(event).unwrap();
                }
                prop_assert_eq!(step, Step::Write(revision + u64::from(round)));
                match claim.handle(Event::Conflict) {
                    Ok(next) => step = next,
                    Err(verdict) => {
                        prop_assert_eq!(verdict, Verdict::Elsewhere(None));
                        return Ok(());
                    }
                }
            }
            step = claim.handle(entry(revision + 100, true)).unwrap();
            for _ in 0..silent {
                prop_assert_eq!(step, Step::Ask);
                step = claim.handle(Event::Silent).unwrap();
            }
            prop_assert_eq!(step, Step::Ask);
            prop_assert_eq!(claim.handle(held(false, false)), Err(elsewhere()));
        }

        #[test]
        fn claim_leaves_a_name_to_an_owner_that_comes_back_within_two_seconds(
            // What the questions meet while the owner connects to another server.
            away in proptest::collection::vec(
                proptest::sample::select(vec![Event::Silent, Event::Nobody, Event::Away]),
                0..8,
            ),
            was_read in any::<bool>(),
        ) {
            let (mut claim, _) = begin(false);
            if was_read {
                // Somebody else has written the entry just before.
                for event in [entry(3, false), Event::Nobody, Event::Listening, Event::Conflict] {
                    claim.handle(event).unwrap();
                }
            }
            let mut next = claim.handle(entry(4, true));
            for event in away {
                prop_assert!(matches!(next, Ok(Step::Ask | Step::AskLater)), "{next:?}");
                next = claim.handle(event);
            }
            prop_assert!(matches!(next, Ok(Step::Ask | Step::AskLater)), "{next:?}");
            prop_assert_eq!(claim.handle(held(false, false)), Err(elsewhere()));
        }

        #[test]
        fn without_arbiter_exactly_one_of_several_owners_stays_after_they_meet(
            epochs in proptest::collection::btree_set(OWN..OWN + 100, 2..5),
            confirmed in proptest::option::of(0_usize..5),
            order in proptest::collection::vec((0_usize..5, 0_usize..5), 0..60),
        ) {
            // Those that use the name, with the epochs of their claims. One may be confirmed.
            let mut owners: Vec<_> = epochs.into_iter().collect();
            if let Some(owner) = confirmed && owner < owners.len() {
                owners[owner] = 7;
            }
            let best = owners.iter().min().copied();
            // The answer of one of the others is the first.
            let all = (0..5).flat_map(|one| (0..5).map(move |other| (one, other)));
            let mut stays = vec![true; owners.len()];
            for (one, other) in order.into_iter().chain(all) {
                let here = |node: usize| stays.get(node) == Some(&true);
                if one == other || !here(one) || !here(other) || owners[one] == 7 {
                    continue;
                }
                let events = [(Step::Read, Event::Unavailable), (Step::Ask, Event::Held(Holder {
                    node: "a".parse().unwrap(),
                    epoch: owners[other],
                    gives_way: false,
                }))];
                stays[one] = run(Claim::confirm(owners[one]), &events) == Ok(Step::Listen);
            }
            let left = owners.iter().zip(stays).filter(|(_, stays)| *stays);
            let left: Vec<_> = left.map(|(epoch, _)| *epoch).collect();
            prop_assert_eq!(left, Vec::from_iter(best));
        }

        #[test]
        fn claims_at_once_have_exactly_one_owner_in_any_order(
            order in proptest::collection::vec(0_usize..4, 0..80),
        ) {
            const NODES: usize = 4;
            let mut simulation = Simulation {
                listening: vec![false; NODES],
                owner: vec![None; NODES],
                ..Simulation::default()
            };
            let mut claims: Vec<_> = (0..NODES)
                .map(|_| {
                    let (claim, step) = begin(false);
                    (claim, Ok(step))
                })
                .collect();
            // The given order first, then all of them in turn until they are done.
            let rest = (0..NODES).cycle().take(40 * NODES);
            for node in order.into_iter().chain(rest) {
                let (claim, next) = &mut claims[node];
                if let Ok(step) = *next {
                    let event = simulation.step(node, step);
                    *next = claim.handle(event);
                }
            }
            let current = claims
                .iter()
                .filter(|(_, next)| *next == Err(Verdict::Owned(simulation.entry.revision)));
            prop_assert_eq!(current.count(), 1);
            // Silence may count as death where nodes are as slow as in this test, never otherwise:
            // then an earlier epoch was owned for a moment. All others are refused.
            for (_, next) in &claims {
                let is_decided = match next {
                    Err(Verdict::Owned(epoch)) => *epoch <= simulation.entry.revision,
                    Err(Verdict::Elsewhere(_)) => true,
                    _ => false,
                };
                prop_assert!(is_decided, "{next:?}");
            }
        }
    }
}
