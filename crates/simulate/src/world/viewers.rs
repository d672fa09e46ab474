//! Viewers that come, watch and leave.

use distributary_egress::engine::IcePatch;
use distributary_egress::session::ViewerOptions;
use distributary_media::AudioCodec;
use distributary_webrtc::sdp::{IceFragment, Offer};

use super::{REJOIN, World};
use crate::check::{Checker, PathSoFar};
use crate::client::{IndependentPlayer, OwnPlayer, Played, Player};
use crate::content::{read_audio, read_video};
use crate::gateway::ADDRESS;
use crate::network::{Condition, Datagram, is_check};
use crate::publisher::Record;
use crate::random::Random;
use crate::scenario::Leaving;
use crate::seat::Watching;
use crate::tcp::TcpPath;

impl World<'_> {
    pub(super) fn leave(&mut self, number: usize, leaving: Leaving) -> Result<(), String> {
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
        let Some(mut watching) = seat.watching.take() else {
            return Ok(());
        };
        self.finish(number, &mut watching)?;
        self.sessions.note_left(&watching.name(), leaving, now);
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

    /// Checks what a viewer got, once more at the end of its session.
    fn finish(&self, number: usize, watching: &mut Watching) -> Result<(), String> {
        let records: Vec<&Record> = self.publishers.iter().map(|one| &one.record).collect();
        let finished = watching.checker.finish(&records, self.now);
        finished.map_err(|rule| format!("viewer {number}: {rule}"))
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
        seat.tcp = seat.plan.is_tcp.then(|| {
            let links = ((number as u64) << 32) | (2 * seat.players);
            TcpPath::new(seed, links, now)
        });
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
        let name = opened.id.short().to_string();
        self.sessions.begin(name, number, &seat.plan);
        seat.watching = Some(Watching {
            player,
            session: opened.id,
            checker: Checker::new(self.scenario.media.audio == Some(AudioCodec::Aac)),
            since: now,
            is_lossy: false,
            is_harsh: false,
            may_lack_first: false,
            given_up: 0,
        });
        self.note(format!("viewer {number} joins"));
        Ok(())
    }

    /// Lets a player restart ICE.
    pub(super) fn restart_ice(&mut self, number: usize) -> Result<(), String> {
        let now = self.now;
        let watching = self
            .seats
            .get_mut(number)
            .and_then(|seat| seat.watching.as_mut());
        let Some(watching) = watching else {
            return Ok(());
        };
        let Some(fragment) = watching.player.restart_ice() else {
            return Ok(());
        };
        let fragment = IceFragment::parse(&fragment).map_err(|error| error.to_string())?;
        match self.gateway.engine.patch(&watching.session, &fragment) {
            Ok(IcePatch::Restarted(restarted)) => {
                watching.player.handle_fragment(&restarted.fragment, now)
            }
            Ok(IcePatch::Noted) => Err(format!("viewer {number} does not restart ICE")),
            // The session has ended.
            Err(_) => Ok(()),
        }
    }

    /// Lets the time of a viewer pass, and delivers what it sent.
    pub(super) fn handle_seat(&mut self, number: usize) -> Result<(), String> {
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
            let has_played = watching.checker.frames > 0;
            let is_lossy = watching.is_lossy || watching.is_harsh || seat.forged.is_some();
            self.sessions.note(&watching.name(), is_lossy, has_played);
            if watching.player.poll_timeout().is_some_and(|due| due <= now) {
                watching.player.handle_timeout(now);
            }
        }
        seat.transmit(now);
        if let Some(tcp) = &mut seat.tcp {
            if tcp.is_opening(&seat.up.condition, now) {
                tcp.open(self.gateway.connect(seat.address, now)?);
            }
            tcp.carry_up(&seat.up.condition, now);
        }
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
    pub(super) fn carry_sent(&mut self) -> Result<(), String> {
        let now = self.now;
        for (destination, bytes) in self.gateway.take_sent()? {
            let mut seats = self.seats.iter_mut();
            if let Some(seat) = seats.find(|seat| seat.address == destination) {
                let viewer = destination;
                seat.down.send(Datagram { viewer, bytes }, now);
            }
        }
        let mut closed = Vec::new();
        for (number, seat) in self.seats.iter_mut().enumerate() {
            if let Some(tcp) = &mut seat.tcp
                && tcp.carry_down(&seat.down.condition, now)
            {
                closed.push(number);
            }
        }
        for number in closed {
            self.note(format!(
                "the gateway closes the connection of viewer {number}"
            ));
        }
        Ok(())
    }

    /// Delivers datagrams to a viewer, and checks what it plays.
    pub(super) fn deliver(&mut self, number: usize) -> Result<(), String> {
        let (now, at) = (self.now, self.elapsed());
        let records: Vec<&Record> = self.publishers.iter().map(|one| &one.record).collect();
        let seat = &mut self.seats[number];
        while let Some(Datagram { viewer, bytes }) = seat.down.receive(now) {
            if viewer == seat.address
                && seat.tcp.is_none()
                && let Some(watching) = &mut seat.watching
            {
                watching.player.handle_datagram(ADDRESS.into(), &bytes, now);
            }
        }
        if let Some(tcp) = &mut seat.tcp {
            let condition = &seat.down.condition;
            let mut receive = || tcp.receive(condition, now);
            while let Some(packet) = receive().map_err(|rule| format!("viewer {number}: {rule}"))? {
                if let Some(watching) = &mut seat.watching {
                    watching
                        .player
                        .handle_datagram(ADDRESS.into(), &packet, now);
                }
            }
        }
        seat.transmit(now);
        let Some(watching) = &mut seat.watching else {
            return Ok(());
        };
        let path = PathSoFar {
            may_lack_first: watching.may_lack_first,
            is_clean: !(watching.may_lack_first || watching.is_lossy || watching.is_harsh),
            may_skip: seat.tcp.is_some() && watching.is_harsh,
        };
        while let Some(played) = watching.player.poll_played() {
            seat.trace.count(at, &described(&played));
            let checked = watching.checker.handle(&played, &records, path, now);
            checked.map_err(|rule| format!("viewer {number}: {rule}"))?;
        }
        let given_up = watching.player.given_up();
        if given_up > watching.given_up && !watching.is_harsh {
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
            self.lose(number, &why)?;
        }
        Ok(())
    }

    /// Ends a player that gets nothing any more; another one comes in its place.
    fn lose(&mut self, number: usize, why: &str) -> Result<(), String> {
        let now = self.now;
        if let Some(mut watching) = self.seats[number].watching.take() {
            self.finish(number, &mut watching)?;
            let seat = &mut self.seats[number];
            let name = watching.name();
            self.sessions.note_left(&name, Leaving::Silently, now);
            self.summary.frames += watching.checker.frames;
            self.summary.audio_frames += watching.checker.audio_frames;
            seat.join_at = (seat.is_wanted && !self.is_over).then(|| now + REJOIN);
            let watched = now.duration_since(watching.since);
            self.note(format!("viewer {number} ends after {watched:?}: {why}"));
        }
        Ok(())
    }
}

/// Returns what a trace has of media: nothing of it is random.
fn described(played: &Played) -> Vec<u8> {
    match played {
        Played::Video { units, .. } => format!("{:?}", read_video(units)).into_bytes(),
        Played::Audio { packet, .. } => format!("{:?}", read_audio(packet)).into_bytes(),
    }
}
