//! The events of a scenario, and what follows from them later.

use std::net::SocketAddr;
use std::time::Instant;

use distributary_hub::ViewerLimits;
use distributary_names::RenditionId;
use distributary_webrtc::quality::Preference;

use super::World;
use crate::network::Condition;
use crate::publisher::Publisher;
use crate::scenario::Event;

/// Something that happens later because of an event.
#[derive(Clone, Copy, Debug)]
pub(super) enum Later {
    Publish,
    Resume(usize),
    Room(usize),
    Serve,
    End,
}

impl World<'_> {
    pub(super) fn handle_events(&mut self) -> Result<(), String> {
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
            Later::Serve => {
                self.serve();
                Ok(())
            }
            Later::End => {
                self.end_publishers();
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
                    if let Some(tcp) = &mut seat.tcp {
                        tcp.reset(self.now);
                    }
                    // Until its next check the gateway sends to the old address.
                    if let Some(watching) = &mut seat.watching {
                        (watching.is_lossy, watching.is_harsh) = (true, true);
                    }
                }
            }
            Event::Reconnect(number, after) => {
                let seat = self.seats.get_mut(number);
                if let Some(seat) = seat
                    && let Some(tcp) = &mut seat.tcp
                {
                    let port = seat.address.port().wrapping_add(1001).max(1024);
                    seat.address.set_port(port);
                    tcp.reset(self.now + after);
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
            Event::Yield => {
                let is_requested = self.gateway.request_takeover(self.now);
                self.note(format!("a takeover is requested: {is_requested}"));
            }
            Event::RestartIce(number) => self.restart_ice(number)?,
            Event::Reload => {
                let max = 1 + self.seats.len() * 2;
                self.gateway.reload(ViewerLimits {
                    max,
                    ..ViewerLimits::default()
                });
            }
            Event::Drain(time) => {
                self.gateway.draining.send_replace(true);
                self.draining_since.get_or_insert(self.now);
                self.later.push((self.now + time, Later::Serve));
            }
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

    /// Ends the drain.
    pub(super) fn serve(&mut self) {
        self.gateway.draining.send_replace(false);
        self.draining_since = None;
        self.note("the gateway serves".to_owned());
    }

    pub(super) fn free(&mut self, shard: usize) {
        if let Some(room) = self.rooms.get_mut(shard) {
            *room = None;
            self.gateway.engine.set_room(shard, usize::MAX, self.now);
        }
    }

    fn choose(&mut self, number: usize, track: Option<u8>) {
        let seat = self.seats.get(number);
        let Some(watching) = seat.and_then(|seat| seat.watching.as_ref()) else {
            return;
        };
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
}
