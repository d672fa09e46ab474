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
fn node_that_stands_by_goes_on_waiting_when_it_loses_its_connection() {
    let waiting = || {
        let (claim, step) = begin(false);
        (claim.after_waiting(), step)
    };
    let read = (Step::Read, entry(4, true));
    let nobody = (Step::Ask, Event::Nobody);
    let listening = (Step::Listen, Event::Listening);
    for events in [
        vec![(Step::Read, Event::Unavailable), (Step::Ask, Event::Away)],
        vec![read.clone(), (Step::Ask, Event::Away)],
        vec![
            read.clone(),
            nobody.clone(),
            (Step::Listen, Event::NotListening),
        ],
        vec![
            read,
            nobody.clone(),
            listening.clone(),
            (Step::Write(4), Event::NotListening),
        ],
    ] {
        let verdict = run(waiting(), &events);
        assert_eq!(verdict, Err(Verdict::Elsewhere(None)), "{events:?}");
    }
    // The arbiter alone does not answer.
    let events = [(Step::Read, Event::Unavailable), nobody, listening];
    assert_eq!(run(waiting(), &events), Err(Verdict::Provisional));
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
