//! The events of a simulation, by its seed.

use std::time::Duration;

use distributary_media::AudioCodec;

use crate::network::Condition;
use crate::publisher::Media;
use crate::random::Random;

/// The events of a simulation.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// The seed of everything that is random.
    pub seed: u64,
    /// The step of the simulated clock.
    pub step: Duration,
    /// Shards of the gateway.
    pub shards: usize,
    /// The policy for publishers whose name is taken.
    pub duplicates: Duplicates,
    /// The media of the publishers.
    pub media: Media,
    /// Steps from one run of the audio transcoder to the next: its threads are busy.
    pub audio_steps: u32,
    /// The viewers.
    pub viewers: Vec<ViewerPlan>,
    /// The events, by their times.
    pub events: Vec<(Duration, Event)>,
    /// Time after which networks and publishers work again.
    pub active: Duration,
}

/// The policy for a second publisher.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Duplicates {
    /// It is refused.
    Refuse,
    /// It replaces the first one.
    Takeover,
    /// It stands by.
    Standby,
}

/// A viewer.
#[derive(Clone, Copy, Debug)]
pub struct ViewerPlan {
    /// When it comes first.
    pub joins: Duration,
    /// It is str0m in place of the simulation's own player.
    pub is_independent: bool,
    /// It connects over TCP.
    pub is_tcp: bool,
    /// It gets media right behind the handshake, in which the gateway is active.
    pub has_early_media: bool,
    /// The path to the gateway.
    pub up: Condition,
    /// The path from the gateway.
    pub down: Condition,
}

/// An event.
#[derive(Clone, Copy, Debug)]
pub enum Event {
    /// A viewer leaves, if it is there.
    Leave(usize, Leaving),
    /// A viewer comes, if it is not there.
    Join(usize),
    /// The path from the gateway to a viewer changes.
    Down(usize, Condition),
    /// The path of a viewer is cut in both directions, or works again.
    Cut(usize, bool),
    /// A viewer gets another address, as behind a NAT that forgets it.
    Move(usize),
    /// A viewer asks for a video track, or leaves the choice to the gateway.
    Choose(usize, Option<u8>),
    /// The TCP connection of a viewer breaks, and it opens another one after this time.
    Reconnect(usize, Duration),
    /// Somebody sends the checks of a viewer with the address of another one as their source.
    Forge(usize, usize),
    /// The publisher ends the stream, and comes back after this time.
    Restart(Duration),
    /// The connection of the publisher is cut, and it comes back after this time.
    Crash(Duration),
    /// The publisher sends nothing for this time.
    Pause(Duration),
    /// A second publisher comes.
    Second,
    /// An operator has a standby take over.
    Yield,
    /// A player restarts ICE.
    RestartIce(usize),
    /// The configuration is loaded again, with other limits.
    Reload,
    /// The gateway drains for this time.
    Drain(Duration),
    /// The kernel accepts only this many datagrams in each step from a shard for this time.
    Full(usize, usize, Duration),
}

/// The way in which a viewer leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leaving {
    /// By DELETE.
    Delete,
    /// By DTLS.
    Goodbye,
    /// Without a word.
    Silently,
}

impl Scenario {
    /// Returns the scenario of a seed.
    #[must_use]
    pub fn of(seed: u64) -> Self {
        let mut random = Random::of(seed, 1, 0);
        let is_large = seed % 25 == 24;
        let viewers = match (is_large, random.range(0..=9)) {
            (true, _) => random.range(40..=200),
            (false, 0..=2) => 1,
            (false, 3..=7) => random.range(2..=4),
            (false, _) => random.range(5..=9),
        } as usize;
        let active = Duration::from_millis(if is_large {
            3_000
        } else {
            random.range(4_000..=12_000)
        });
        let harshness = random.range(0..=3);
        let media = media(&mut random, is_large);
        let mut scenario = Self {
            seed,
            step: Duration::from_millis(if is_large { 5 } else { random.pick(2, &[3, 5]) }),
            shards: random.range(1..=3) as usize,
            duplicates: random.pick(
                Duplicates::Refuse,
                &[Duplicates::Takeover, Duplicates::Standby],
            ),
            media,
            audio_steps: 1,
            viewers: (0..viewers)
                .map(|_| viewer(&mut random, active, harshness, is_large))
                .collect(),
            events: Vec::new(),
            active,
        };
        let count = match harshness {
            0 => random.range(0..=1),
            _ => random.range(1..=7),
        };
        for _ in 0..count {
            let at = Duration::from_millis(random.range(500..=active.as_millis() as u64));
            let event = scenario.event(&mut random, harshness);
            scenario.events.push((at, event));
        }
        if seed % 2 == 1 {
            scenario.add_operations();
        }
        if matches!(seed % 8, 0 | 1) {
            scenario.add_aac();
        }
        if matches!(seed % 8, 1 | 7) {
            scenario.add_tcp();
        }
        scenario.events.sort_by_key(|(at, _)| *at);
        scenario
    }

    /// Adds events of another generator, so that other scenarios stay as they are.
    fn add_operations(&mut self) {
        let mut random = Random::of(self.seed, 4, 0);
        if random.chance(500) {
            self.duplicates = Duplicates::Standby;
        }
        for _ in 0..random.range(1..=4) {
            let at = Duration::from_millis(random.range(500..=self.active.as_millis() as u64));
            let event = match random.range(0..=4) {
                0 if self.duplicates == Duplicates::Standby => {
                    self.events.push((at / 2, Event::Second));
                    Event::Yield
                }
                0 | 1 => Event::Reload,
                2 => Event::Drain(Duration::from_millis(random.range(200..=4_000))),
                _ => Event::RestartIce((random.draw() % self.viewers.len() as u64) as usize),
            };
            self.events.push((at, event));
        }
    }

    /// Lets the publishers send AAC, and the gateway transcode it with a delay of some steps.
    fn add_aac(&mut self) {
        let mut random = Random::of(self.seed, 5, 0);
        if self.media.audio.is_some() {
            self.media.audio = Some(AudioCodec::Aac);
        }
        self.audio_steps = random.pick(1, &[2, 5]);
    }

    /// Lets some viewers connect over TCP, and some of their connections break.
    fn add_tcp(&mut self) {
        let mut random = Random::of(self.seed, 6, 0);
        let active = self.active.as_millis() as u64;
        for (number, viewer) in self.viewers.iter_mut().enumerate() {
            viewer.is_tcp = random.chance(600) && !viewer.is_independent;
            if viewer.is_tcp && random.chance(300) {
                let at = Duration::from_millis(random.range(500..=active));
                let after = Duration::from_millis(random.range(0..=800));
                self.events.push((at, Event::Reconnect(number, after)));
            }
        }
    }

    /// One publisher and one viewer over a perfect path.
    #[must_use]
    pub fn simplest(seed: u64) -> Self {
        let path = Condition::perfect(Duration::from_millis(10));
        Self {
            seed,
            step: Duration::from_millis(2),
            shards: 1,
            duplicates: Duplicates::Refuse,
            media: media(&mut Random::of(seed, 2, 0), false),
            audio_steps: 1,
            viewers: vec![ViewerPlan {
                joins: Duration::from_millis(700),
                is_independent: false,
                is_tcp: false,
                has_early_media: false,
                up: path,
                down: path,
            }],
            events: Vec::new(),
            active: Duration::from_secs(3),
        }
    }

    fn event(&self, random: &mut Random, harshness: u64) -> Event {
        let mut viewer = || (random.draw() % self.viewers.len() as u64) as usize;
        let (one, other) = (viewer(), viewer());
        let short = Duration::from_millis(random.range(100..=3_000));
        match random.range(0..=15) {
            0 => Event::Leave(
                one,
                random.pick(Leaving::Delete, &[Leaving::Goodbye, Leaving::Silently]),
            ),
            1 | 2 => Event::Join(one),
            3 | 4 => Event::Down(one, condition(random, harshness)),
            5 => Event::Cut(one, true),
            6 => Event::Cut(one, false),
            7 => Event::Move(one),
            8 | 9 if self.media.tracks > 1 => Event::Choose(
                one,
                random
                    .chance(800)
                    .then(|| (random.draw() % u64::from(self.media.tracks)) as u8),
            ),
            8 | 9 => Event::Move(one),
            10 => Event::Forge(one, other),
            11 => Event::Restart(short),
            12 => Event::Crash(short),
            13 => Event::Pause(short),
            14 => Event::Second,
            _ => Event::Full(one % self.shards, random.range(1..=20) as usize, short / 4),
        }
    }
}

fn media(random: &mut Random, is_large: bool) -> Media {
    let interval = random.pick(33, &[20, 40]);
    Media {
        interval: if is_large { 40 } else { interval },
        gop: random.range(10..=60) as u32,
        keyframe_len: random.range(3_000..=15_000) as usize,
        delta_len: random.range(300..=2_500) as usize,
        tracks: random.pick(1, &[1, 2, 3]),
        audio: random.chance(850).then_some(AudioCodec::Opus),
        first_timestamp: random.pick(0, &[5_000, 0x00ff_ff00, 86_400_000, 0xffff_f000]),
    }
}

fn viewer(random: &mut Random, active: Duration, harshness: u64, is_large: bool) -> ViewerPlan {
    let down = condition(random, harshness);
    let latest = active.as_millis() as u64 / 2;
    ViewerPlan {
        joins: Duration::from_millis(random.range(0..=latest)),
        is_independent: random.chance(if is_large { 20 } else { 150 }),
        is_tcp: false,
        has_early_media: random.chance(400),
        up: Condition {
            loss: down.loss / 2,
            rate: None,
            mtu: 1500,
            ..down
        },
        down,
    }
}

/// Returns the condition of a path.
fn condition(random: &mut Random, harshness: u64) -> Condition {
    let delay = Duration::from_millis(random.range(1..=120));
    let mut condition = Condition::perfect(delay);
    if harshness == 0 {
        return condition;
    }
    let most = [0, 10, 30, 120][harshness as usize % 4];
    if random.chance(600) {
        condition.loss = random.range(0..=most);
    }
    if random.chance(300) {
        condition.reordered = random.range(0..=50);
    }
    if random.chance(300) {
        condition.duplicated = random.range(0..=50);
    }
    if random.chance(500) {
        condition.jitter = Duration::from_millis(random.range(0..=30));
    }
    if harshness > 1 && random.chance(200) {
        condition.bursts = random.range(1..=most / 4 + 1);
    }
    if harshness > 1 && random.chance(250) {
        condition.rate = Some(random.range(300_000..=4_000_000));
        condition.queue = Duration::from_millis(random.range(30..=400));
    }
    if random.chance(100) {
        condition.mtu = 1280;
    }
    condition
}
