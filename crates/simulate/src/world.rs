//! Runs a scenario.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant, SystemTime};

use distributary_egress::session::ViewerOptions;
use distributary_names::RenditionId;
use distributary_webrtc::certificate::Certificate;
use distributary_webrtc::dtls::DtlsContext;
use distributary_webrtc::quality::Preference;
use distributary_webrtc::sdp::Offer;

use crate::check::{Checker, PathSoFar};
use crate::client::{IndependentPlayer, OwnPlayer, Played, Player, PlayerContext};
use crate::content::{read_audio, read_video};
use crate::gateway::{ADDRESS, Gateway};
use crate::network::{Condition, Datagram, Link};
use crate::publisher::{Publisher, Record};
use crate::random::{Random, mix};
use crate::scenario::{Event, Leaving, Scenario};
use crate::seat::{Seat, Watching};
use crate::trace::Trace;

/// Time after which each viewer plays again once networks and publishers work again.
const RECOVERY: Duration = Duration::from_secs(10);

/// Time without a frame for which a viewer does not play.
const STALL: Duration = Duration::from_secs(1);

/// Time after which nothing is left of sessions and streams.
const REST: Duration = Duration::from_secs(45);

/// Time after which a player whose session has ended asks for another one.
const REJOIN: Duration = Duration::from_millis(700);

/// Largest step while connections of publishers may have timers.
const MAX_STEP: Duration = Duration::from_millis(50);

/// Turns of the tasks of connections in each step.
const TURNS: usize = 6;

/// A summary of a simulation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Hash over all events: equal if two simulations went the same way.
    pub hash: u64,
    /// Video frames that viewers could decode.
    pub frames: u64,
    /// Audio frames that viewers got.
    pub audio_frames: u64,
    /// Sessions of viewers.
    pub sessions: u64,
    /// Simulated time.
    pub time: Duration,
}

/// A rule that was broken in a simulation.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The seed.
    pub seed: u64,
    /// The simulated time.
    pub at: Duration,
    /// The rule.
    pub reason: String,
    /// The last events.
    pub events: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            seed,
            at,
            reason,
            events,
        } = self;
        writeln!(
            f,
            "seed {seed} failed at {:.3} s: {reason}",
            at.as_secs_f64()
        )?;
        write!(f, "{events}")
    }
}

/// Runs a scenario.
///
/// # Errors
/// Returns [`Failure`] if a rule is broken.
pub fn run(scenario: &Scenario) -> Result<Summary, Box<Failure>> {
    let failed = |reason: String| {
        Box::new(Failure {
            seed: scenario.seed,
            at: Duration::ZERO,
            reason,
            events: String::new(),
        })
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .map_err(|error| failed(error.to_string()))?;
    runtime.block_on(async {
        let mut world = World::new(scenario).map_err(failed)?;
        world.run().await.map_err(|reason| {
            Box::new(Failure {
                seed: scenario.seed,
                at: world.elapsed(),
                reason,
                events: world.events(),
            })
        })
    })
}

/// Something that happens later because of an event.
#[derive(Clone, Copy, Debug)]
enum Later {
    Publish,
    Resume(usize),
    Room(usize),
}

struct World<'a> {
    scenario: &'a Scenario,
    gateway: Gateway,
    context: PlayerContext,
    seats: Vec<Seat>,
    publishers: Vec<Publisher>,
    later: Vec<(Instant, Later)>,
    /// Shards whose kernel buffer is small, and the datagrams that fit into it.
    rooms: Vec<Option<usize>>,
    origin: Instant,
    now: Instant,
    next_event: usize,
    trace: Trace,
    summary: Summary,
    /// Publishers and networks work as they should.
    is_healed: bool,
    is_over: bool,
}

fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

impl<'a> World<'a> {
    fn new(scenario: &'a Scenario) -> Result<Self, String> {
        let origin = now();
        let wall = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        let certificate = Certificate::generate(wall).map_err(|error| error.to_string())?;
        let dtls = DtlsContext::new(&certificate).map_err(|error| error.to_string())?;
        let seats = scenario.viewers.iter().enumerate().map(|(number, plan)| {
            let link = |condition, way| {
                Link::new(scenario.seed, 2 * number as u64 + way, condition, origin)
            };
            Seat {
                plan: *plan,
                address: SocketAddr::from((host(number), 40_000 + number as u16)),
                up: link(plan.up, 0),
                down: link(plan.down, 1),
                is_wanted: true,
                join_at: Some(origin + plan.joins),
                watching: None,
                players: 0,
                forged: None,
                trace: Trace::default(),
            }
        });
        Ok(Self {
            gateway: Gateway::new(scenario, origin)?,
            context: PlayerContext {
                dtls,
                fingerprint: certificate.fingerprint().clone(),
            },
            seats: seats.collect(),
            publishers: Vec::new(),
            later: vec![(origin, Later::Publish)],
            rooms: vec![None; scenario.shards],
            origin,
            now: origin,
            next_event: 0,
            trace: Trace::default(),
            summary: Summary::default(),
            is_healed: false,
            is_over: false,
            scenario,
        })
    }

    fn elapsed(&self) -> Duration {
        self.now.duration_since(self.origin)
    }

    fn events(&self) -> String {
        self.trace.to_string()
    }

    fn note(&mut self, event: String) {
        let at = self.elapsed();
        self.trace.note(at, event);
    }

    async fn run(&mut self) -> Result<Summary, String> {
        self.run_until(self.scenario.active).await?;
        self.heal();
        self.run_until(self.scenario.active + RECOVERY).await?;
        self.check_playing()?;
        self.end()?;
        self.run_until(self.scenario.active + RECOVERY + REST)
            .await?;
        self.gateway.check_empty()?;
        let mut summary = self.summary.clone();
        summary.time = self.elapsed();
        summary.hash = self.trace.hash();
        for seat in &self.seats {
            summary.hash = mix(summary.hash ^ seat.trace.hash());
        }
        Ok(summary)
    }

    async fn run_until(&mut self, end: Duration) -> Result<(), String> {
        while self.elapsed() < end {
            let advance = self.time_to_next(end);
            tokio::time::advance(advance).await;
            self.now = now();
            self.step().await?;
        }
        Ok(())
    }

    /// Returns the time to the next step at which something is due.
    fn time_to_next(&self, end: Duration) -> Duration {
        let step = self.scenario.step;
        let publishers = self.publishers.iter();
        let seats = self.seats.iter();
        let later = self.later.iter().map(|(at, _)| *at);
        let event = self.scenario.events.get(self.next_event);
        let due = publishers
            .filter_map(Publisher::poll_timeout)
            .chain(seats.filter_map(Seat::poll_timeout))
            .chain(self.gateway.engine.poll_timeout())
            .chain(later)
            .chain(event.map(|(at, _)| self.origin + *at))
            .min();
        let left = end.saturating_sub(self.elapsed());
        let wait = due.map_or(left, |due| due.saturating_duration_since(self.now));
        let wait = wait.min(left).min(MAX_STEP);
        let is_slow = self.rooms.iter().any(Option::is_some);
        let steps = wait.as_nanos().div_ceil(step.as_nanos());
        let steps = if is_slow { 1 } else { steps.max(1) };
        step * steps as u32
    }

    async fn step(&mut self) -> Result<(), String> {
        self.handle_events()?;
        for publisher in &mut self.publishers {
            publisher.handle_timeout(self.now);
        }
        self.note_ends();
        for _ in 0..TURNS {
            tokio::task::yield_now().await;
        }
        let now = self.now;
        for number in 0..self.seats.len() {
            self.handle_seat(number)?;
        }
        for (shard, room) in self.rooms.iter().enumerate() {
            if let Some(room) = room {
                self.gateway.engine.set_room(shard, *room, now);
            }
        }
        self.gateway.engine.handle_timeout(now);
        self.carry_sent()?;
        for number in 0..self.seats.len() {
            self.deliver(number)?;
        }
        self.gateway.check_tables()
    }

    fn note_ends(&mut self) {
        let mut ends = Vec::new();
        for (number, publisher) in self.publishers.iter_mut().enumerate() {
            if let Some(end) = publisher.end.take() {
                ends.push(format!("publisher {number} has ended: {end}"));
            }
        }
        for end in ends {
            self.note(end);
        }
    }

    fn handle_events(&mut self) -> Result<(), String> {
        let due: Vec<Later> = {
            let now = self.now;
            let is_due = |(at, _): &(Instant, Later)| *at <= now;
            let due = self.later.iter().filter(|later| is_due(later));
            let due = due.map(|(_, later)| *later).collect();
            self.later.retain(|later| !is_due(later));
            due
        };
        for later in due {
            self.handle_later(later)?;
        }
        while let Some((at, event)) = self.scenario.events.get(self.next_event)
            && *at <= self.elapsed()
        {
            self.next_event += 1;
            if !self.is_healed {
                self.handle_event(*event)?;
            }
        }
        Ok(())
    }

    fn handle_later(&mut self, later: Later) -> Result<(), String> {
        match later {
            Later::Publish => self.publish(),
            Later::Resume(number) => {
                if let Some(publisher) = self.publishers.get_mut(number) {
                    publisher.is_paused = false;
                    self.note(format!("publisher {number} goes on"));
                }
                Ok(())
            }
            Later::Room(shard) => {
                self.free(shard);
                Ok(())
            }
        }
    }

    fn handle_event(&mut self, event: Event) -> Result<(), String> {
        self.note(format!("{event:?}"));
        let current = self.publishers.iter().position(Publisher::is_open);
        match event {
            Event::Leave(number, leaving) => self.leave(number, leaving)?,
            Event::Join(number) => {
                let now = self.now;
                if let Some(seat) = self.seats.get_mut(number)
                    && !seat.is_wanted
                {
                    seat.is_wanted = true;
                    seat.join_at = Some(now);
                }
            }
            Event::Down(number, condition) => {
                if let Some(seat) = self.seats.get_mut(number) {
                    let is_cut = seat.down.condition.is_cut;
                    seat.down.condition = Condition {
                        is_cut,
                        ..condition
                    };
                }
            }
            Event::Cut(number, is_cut) => {
                if let Some(seat) = self.seats.get_mut(number) {
                    seat.up.condition.is_cut = is_cut;
                    seat.down.condition.is_cut = is_cut;
                }
            }
            Event::Move(number) => {
                if let Some(seat) = self.seats.get_mut(number) {
                    let port = seat.address.port().wrapping_add(1001).max(1024);
                    seat.address.set_port(port);
                    // Until its next check the gateway sends to the old address.
                    if let Some(watching) = &mut seat.watching {
                        (watching.is_lossy, watching.is_harsh) = (true, true);
                    }
                }
            }
            Event::Choose(number, track) => self.choose(number, track),
            Event::Forge(number, other) => {
                let victim = self.seats.get(other).map(|seat| seat.address);
                // A host at which nobody is, or a viewer.
                let victim = if number == other {
                    Some(SocketAddr::from(([203, 0, 113, 9], 9)))
                } else {
                    victim
                };
                if let Some(seat) = self.seats.get_mut(number) {
                    seat.forged = victim;
                }
            }
            Event::Restart(after) => {
                if let Some(publisher) = current.and_then(|at| self.publishers.get_mut(at)) {
                    publisher.close();
                    self.later.push((self.now + after, Later::Publish));
                }
            }
            Event::Crash(after) => {
                if let Some(publisher) = current.and_then(|at| self.publishers.get_mut(at)) {
                    publisher.cut("its connection was cut");
                    self.later.push((self.now + after, Later::Publish));
                }
            }
            Event::Pause(time) => {
                if let Some(at) = current
                    && let Some(publisher) = self.publishers.get_mut(at)
                {
                    publisher.is_paused = true;
                    self.later.push((self.now + time, Later::Resume(at)));
                }
            }
            Event::Second => self.publish()?,
            Event::Full(shard, room, time) => {
                if let Some(slot) = self.rooms.get_mut(shard) {
                    *slot = Some(room);
                    self.later.push((self.now + time, Later::Room(shard)));
                }
            }
        }
        Ok(())
    }

    fn publish(&mut self) -> Result<(), String> {
        let number = self.publishers.len();
        let peer = SocketAddr::from(([198, 51, 100, number as u8], 5000));
        let pipe = self.gateway.accept(peer);
        let media = self.scenario.media;
        let publisher = Publisher::new(number as u16, media, "live", "show", pipe)?;
        self.publishers.push(publisher);
        self.note(format!("publisher {number} connects"));
        Ok(())
    }

    fn free(&mut self, shard: usize) {
        if let Some(room) = self.rooms.get_mut(shard) {
            *room = None;
            self.gateway.engine.set_room(shard, usize::MAX, self.now);
        }
    }

    fn choose(&mut self, number: usize, track: Option<u8>) {
        let watching = self
            .seats
            .get_mut(number)
            .and_then(|seat| seat.watching.as_mut());
        let Some(watching) = watching else {
            return;
        };
        watching.has_chosen = true;
        let fixed = track.map(|track| match track {
            0 => RenditionId::SOURCE,
            track => RenditionId::track(track),
        });
        let preference = Preference {
            fixed,
            ..Preference::default()
        };
        // The session may have ended.
        let _ = self
            .gateway
            .engine
            .set_quality(&watching.session, preference);
    }

    fn leave(&mut self, number: usize, leaving: Leaving) -> Result<(), String> {
        let now = self.now;
        let Some(seat) = self.seats.get_mut(number) else {
            return Ok(());
        };
        seat.is_wanted = false;
        seat.join_at = None;
        if leaving == Leaving::Goodbye {
            if let Some(watching) = &mut seat.watching {
                watching.player.close();
            }
            seat.transmit(now);
        }
        let Some(watching) = seat.watching.take() else {
            return Ok(());
        };
        self.summary.frames += watching.checker.frames;
        self.summary.audio_frames += watching.checker.audio_frames;
        if leaving == Leaving::Delete {
            let engine = &mut self.gateway.engine;
            // The gateway may have ended it already.
            let _ = engine.close(&watching.session, now);
            engine.handle_timeout(now);
            if engine.contains(&watching.session) {
                return Err(format!(
                    "the session of viewer {number} is left after DELETE"
                ));
            }
        }
        Ok(())
    }

    fn join(&mut self, number: usize) -> Result<(), String> {
        let now = self.now;
        let seed = self.scenario.seed;
        let Some(seat) = self.seats.get_mut(number) else {
            return Ok(());
        };
        seat.join_at = None;
        seat.players += 1;
        // A new player has a new socket.
        let port = seat.address.port().wrapping_add(97).max(1024);
        seat.address.set_port(port);
        let identity = Random::of(seed, number as u64, seat.players).draw();
        let (mut player, offer): (Box<dyn Player>, String) = if seat.plan.is_independent {
            let (player, offer) = IndependentPlayer::new(seat.address, now)?;
            (Box::new(player), offer)
        } else {
            let player = OwnPlayer::new(identity)?;
            let offer = player.offer(&self.context.fingerprint);
            (Box::new(player), offer)
        };
        let offer = Offer::parse(&offer).map_err(|error| error.to_string())?;
        let options = ViewerOptions {
            early_media: seat.plan.has_early_media && !seat.plan.is_independent,
            address: Some(seat.address.ip()),
            counts_as: Some(seat.address.ip()),
            ..ViewerOptions::default()
        };
        let stream = &self.gateway.stream;
        let opened = self.gateway.engine.open(stream, &offer, options, now);
        let opened = opened.map_err(|error| format!("viewer {number} is refused: {error}"))?;
        player.handle_answer(&opened.answer, &self.context, now)?;
        self.summary.sessions += 1;
        seat.watching = Some(Watching {
            player,
            session: opened.id,
            checker: Checker::default(),
            since: now,
            is_lossy: false,
            is_harsh: false,
            has_chosen: false,
            may_lack_first: false,
            given_up: 0,
        });
        self.note(format!("viewer {number} joins"));
        Ok(())
    }

    /// Lets the time of a viewer pass, and delivers what it sent.
    fn handle_seat(&mut self, number: usize) -> Result<(), String> {
        let now = self.now;
        if self.seats[number].join_at.is_some_and(|at| at <= now) {
            self.join(number)?;
        }
        let seat = &mut self.seats[number];
        let condition = [seat.up.condition, seat.down.condition];
        if let Some(watching) = &mut seat.watching {
            watching.is_lossy |= condition.iter().any(Condition::loses);
            watching.is_harsh |= condition.iter().any(Condition::is_harsh);
            // A full buffer loses retransmissions.
            watching.is_harsh |= self.rooms.iter().any(Option::is_some);
            let may_lose_first = condition.iter().any(Condition::may_lose_first);
            watching.may_lack_first |= watching.is_lossy || may_lose_first;
            if watching.player.poll_timeout().is_some_and(|due| due <= now) {
                watching.player.handle_timeout(now);
            }
        }
        seat.transmit(now);
        while let Some(Datagram { viewer, mut bytes }) = seat.up.receive(now) {
            if let Some(victim) = seat.forged.filter(|_| is_check(&bytes)) {
                let mut copy = bytes.clone();
                self.gateway.handle_datagram(victim, &mut copy, now);
            }
            self.gateway.handle_datagram(viewer, &mut bytes, now);
        }
        Ok(())
    }

    /// Puts what the gateway sends on the links to the viewers.
    fn carry_sent(&mut self) -> Result<(), String> {
        let now = self.now;
        for (destination, bytes) in self.gateway.take_sent()? {
            let mut seats = self.seats.iter_mut();
            if let Some(seat) = seats.find(|seat| seat.address == destination) {
                let viewer = destination;
                seat.down.send(Datagram { viewer, bytes }, now);
            }
        }
        Ok(())
    }

    /// Delivers datagrams to a viewer, and checks what it plays.
    fn deliver(&mut self, number: usize) -> Result<(), String> {
        let (now, at) = (self.now, self.elapsed());
        let records: Vec<&Record> = self.publishers.iter().map(|one| &one.record).collect();
        let seat = &mut self.seats[number];
        while let Some(Datagram { viewer, bytes }) = seat.down.receive(now) {
            if viewer == seat.address
                && let Some(watching) = &mut seat.watching
            {
                watching.player.handle_datagram(ADDRESS.into(), &bytes, now);
            }
        }
        seat.transmit(now);
        let Some(watching) = &mut seat.watching else {
            return Ok(());
        };
        let path = PathSoFar {
            may_lack_first: watching.may_lack_first,
            is_clean: !(watching.may_lack_first || watching.is_lossy || watching.is_harsh),
        };
        while let Some(played) = watching.player.poll_played() {
            seat.trace.count(at, &described(&played));
            let checked = watching.checker.handle(&played, &records, path, now);
            checked.map_err(|rule| format!("viewer {number}: {rule}"))?;
        }
        let given_up = watching.player.given_up();
        let may_miss = watching.is_harsh || (watching.is_lossy && watching.has_chosen);
        if given_up > watching.given_up && !may_miss {
            let after = if watching.is_lossy {
                "were not retransmitted"
            } else {
                "its path has not lost"
            };
            return Err(format!(
                "viewer {number} misses {given_up} packets that {after}"
            ));
        }
        watching.given_up = given_up;
        let failure = watching.player.failure();
        if let Some(reason) = failure.as_ref().filter(|reason| reason.contains("invalid")) {
            return Err(format!("viewer {number}: {reason}"));
        }
        let is_gone = !self.gateway.engine.contains(&watching.session);
        if is_gone || failure.is_some() {
            let why = if is_gone {
                "its session has ended".to_owned()
            } else {
                failure.unwrap_or_default()
            };
            self.lose(number, &why);
        }
        Ok(())
    }

    /// Ends a player that gets nothing any more; another one comes in its place.
    fn lose(&mut self, number: usize, why: &str) {
        let now = self.now;
        let seat = &mut self.seats[number];
        if let Some(watching) = seat.watching.take() {
            self.summary.frames += watching.checker.frames;
            self.summary.audio_frames += watching.checker.audio_frames;
            seat.join_at = (seat.is_wanted && !self.is_over).then(|| now + REJOIN);
            let watched = now.duration_since(watching.since);
            self.note(format!("viewer {number} ends after {watched:?}: {why}"));
        }
    }

    /// Lets networks and publishers work from now on.
    fn heal(&mut self) {
        self.is_healed = true;
        self.note("networks and publishers work again".to_owned());
        for shard in 0..self.rooms.len() {
            self.free(shard);
        }
        for seat in &mut self.seats {
            seat.forged = None;
            for link in [&mut seat.up, &mut seat.down] {
                link.condition = Condition::perfect(link.condition.delay);
            }
        }
        let is_alone = !self.publishers.iter().any(Publisher::is_open);
        let comes = |(_, later): &(Instant, Later)| matches!(later, Later::Publish);
        if is_alone && !self.later.iter().any(comes) {
            self.later.push((self.now, Later::Publish));
        }
    }

    /// Checks that each viewer plays.
    fn check_playing(&self) -> Result<(), String> {
        let is_recent = |at: Option<Instant>| at.is_some_and(|at| self.now - at < STALL);
        for (number, seat) in self.seats.iter().enumerate() {
            if !seat.is_wanted {
                continue;
            }
            let checker = seat.watching.as_ref().map(|watching| &watching.checker);
            let Some(checker) = checker else {
                return Err(format!("viewer {number} has no session"));
            };
            if !is_recent(checker.last_frame) {
                return Err(format!("viewer {number} has no video"));
            }
            if self.scenario.media.has_audio && !is_recent(checker.last_audio) {
                return Err(format!("viewer {number} has no audio"));
            }
        }
        Ok(())
    }

    /// Lets everybody leave.
    fn end(&mut self) -> Result<(), String> {
        self.is_over = true;
        self.later.clear();
        let mut random = Random::of(self.scenario.seed, 3, 0);
        if random.chance(250) {
            self.note("the gateway ends all sessions".to_owned());
            self.gateway.engine.close_all(self.now);
            if self.gateway.engine.sessions() > 0 {
                return Err("sessions are left after shutdown".to_owned());
            }
        }
        for number in 0..self.seats.len() {
            let ways = [Leaving::Goodbye, Leaving::Silently];
            self.leave(number, random.pick(Leaving::Delete, &ways))?;
        }
        for publisher in &mut self.publishers {
            if publisher.is_open() {
                publisher.close();
            }
        }
        Ok(())
    }
}

fn host(number: usize) -> IpAddr {
    [10, 0, (number / 250) as u8, (number % 250 + 1) as u8].into()
}

/// Returns whether a datagram is an ICE check.
fn is_check(bytes: &[u8]) -> bool {
    bytes.starts_with(&[0, 1])
}

/// Returns what a trace has of media: nothing of it is random.
fn described(played: &Played) -> Vec<u8> {
    match played {
        Played::Video { units, .. } => format!("{:?}", read_video(units)).into_bytes(),
        Played::Audio { packet, .. } => format!("{:?}", read_audio(packet)).into_bytes(),
    }
}
