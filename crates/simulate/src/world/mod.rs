//! Runs a scenario.
//!
//! * [`World`]: everything that is simulated, and the steps of its clock.
//! * `events`: the events of the scenario. `viewers`: viewers that come, watch and leave.

mod events;
mod viewers;

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant, SystemTime};

use distributary_webrtc::certificate::Certificate;
use distributary_webrtc::dtls::DtlsContext;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::SubscriberExt;

use crate::client::PlayerContext;
use crate::ends::{Endings, Sessions};
use crate::gateway::Gateway;
use crate::network::{Condition, Link};
use crate::outcome::{Failure, Summary};
use crate::publisher::Publisher;
use crate::random::{Random, mix};
use crate::scenario::{Leaving, Scenario};
use crate::seat::Seat;
use crate::trace::Trace;
use events::Later;

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

/// Time for which publishers may stay when the viewers have left: more than a session without its viewer
/// takes to end.
const STAYS: Duration = Duration::from_secs(20);

/// Viewers that are too many for publishers that stay.
const MANY: usize = 20;

/// Time after which a publisher is refused for sure once the gateway drains.
const DRAIN: Duration = Duration::from_millis(200);

/// Time without a publisher after which the gateway may end sessions: some less than it takes, because
/// the gateway learns later than the publisher that a connection begins.
const GRACE: Duration = Duration::from_secs(14);

/// Turns of the tasks of connections in each step.
const TURNS: usize = 6;

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
        let log = world.sessions.log.clone().with_filter(LevelFilter::INFO);
        let _guard = tracing::subscriber::set_default(tracing_subscriber::registry().with(log));
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

/// Everything that is simulated.
struct World<'a> {
    scenario: &'a Scenario,
    gateway: Gateway,
    context: PlayerContext,
    seats: Vec<Seat>,
    sessions: Sessions,
    publishers: Vec<Publisher>,
    later: Vec<(Instant, Later)>,
    /// Shards whose kernel buffer is small, and the datagrams that fit into it.
    rooms: Vec<Option<usize>>,
    origin: Instant,
    now: Instant,
    next_event: usize,
    /// Steps of the clock.
    steps: u32,
    trace: Trace,
    summary: Summary,
    /// Publishers and networks work as they should.
    is_healed: bool,
    is_over: bool,
    /// The gateway has ended all sessions.
    is_shut_down: bool,
    /// Since when the gateway drains.
    draining_since: Option<Instant>,
    /// Since when there has been no publisher.
    alone_since: Option<Instant>,
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
                tcp: None,
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
            sessions: Sessions::default(),
            draining_since: None,
            alone_since: None,
            publishers: Vec::new(),
            later: vec![(origin, Later::Publish)],
            rooms: vec![None; scenario.shards],
            origin,
            now: origin,
            next_event: 0,
            steps: 0,
            trace: Trace::default(),
            summary: Summary::default(),
            is_healed: false,
            is_over: false,
            is_shut_down: false,
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
        self.sessions.check_ended()?;
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
        turn().await;
        let now = self.now;
        self.steps += 1;
        if self.steps.is_multiple_of(self.scenario.audio_steps) {
            self.gateway.hub.transcode_audio();
        }
        for number in 0..self.seats.len() {
            self.handle_seat(number)?;
        }
        for (shard, room) in self.rooms.iter().enumerate() {
            if let Some(room) = room {
                self.gateway.engine.set_room(shard, *room, now);
            }
        }
        self.turn_tcp().await;
        self.gateway.engine.handle_timeout(now);
        self.turn_tcp().await;
        self.carry_sent()?;
        for number in 0..self.seats.len() {
            self.deliver(number)?;
        }
        self.check_drain()?;
        self.check_ends()?;
        self.gateway.check_tables()
    }

    /// Lets the TCP connections of viewers read and write.
    async fn turn_tcp(&self) {
        if self.scenario.viewers.iter().any(|plan| plan.is_tcp) {
            turn().await;
        }
    }

    /// Checks that nobody begins to publish while the gateway drains.
    fn check_drain(&self) -> Result<(), String> {
        let Some(since) = self.draining_since else {
            return Ok(());
        };
        let mut begun = self.publishers.iter().filter_map(Publisher::began);
        if begun.any(|at| at > since + DRAIN) {
            return Err("a publisher begins while the gateway drains".to_owned());
        }
        Ok(())
    }

    /// Checks that sessions end only if there is a reason.
    fn check_ends(&mut self) -> Result<(), String> {
        let now = self.now;
        let has_publisher = self.publishers.iter().any(Publisher::is_publishing);
        self.alone_since = match self.alone_since {
            _ if has_publisher => None,
            since => since.or(Some(now)),
        };
        let alone = self.alone_since.map(|since| now.duration_since(since));
        let is_over = self.is_shut_down || alone.is_some_and(|alone| alone >= GRACE);
        self.sessions.check(Endings { is_over }, now)
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

    /// Lets networks and publishers work from now on.
    fn heal(&mut self) {
        self.is_healed = true;
        self.note("networks and publishers work again".to_owned());
        for shard in 0..self.rooms.len() {
            self.free(shard);
        }
        if self.draining_since.is_some() {
            self.serve();
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
            if self.scenario.media.audio.is_some() && !is_recent(checker.last_audio) {
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
            self.is_shut_down = true;
            self.gateway.engine.close_all(self.now);
            if self.gateway.viewers_of_shards() > 0 {
                return Err("viewers are left after shutdown".to_owned());
            }
        }
        for number in 0..self.seats.len() {
            let ways = [Leaving::Goodbye, Leaving::Silently];
            self.leave(number, random.pick(Leaving::Delete, &ways))?;
        }
        // Sessions without viewers end by themselves, not with their stream.
        if self.seats.len() < MANY && random.chance(300) {
            self.later.push((self.now + STAYS, Later::End));
        } else {
            self.end_publishers();
        }
        Ok(())
    }

    fn end_publishers(&mut self) {
        for publisher in &mut self.publishers {
            if publisher.is_open() {
                publisher.close();
            }
        }
    }
}

/// Lets the tasks of connections read and write.
async fn turn() {
    for _ in 0..TURNS {
        tokio::task::yield_now().await;
    }
}

fn host(number: usize) -> IpAddr {
    [10, 0, (number / 250) as u8, (number % 250 + 1) as u8].into()
}
