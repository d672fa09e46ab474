//! Frames leave at the pace at which they come.

use super::*;

/// Returns the age of each frame when it left, by the clock of the publisher.
fn ages(world: &World) -> Vec<Duration> {
    let client = &world.clients[0];
    let first = client.video[0].1;
    let mut stamps: Vec<u32> = client.video.iter().map(|(_, stamp)| *stamp).collect();
    stamps.dedup();
    // The first frame that a viewer gets is the first of the stream.
    let time = |stamp: &u32| Duration::from_secs_f64(f64::from(stamp.wrapping_sub(first)) / 90e3);
    let frames = client.left.iter().zip(&stamps);
    let age = |(left, stamp): (&Instant, _)| (*left - world.start).saturating_sub(time(stamp));
    frames.map(age).collect()
}

#[test]
fn latency_is_as_before_once_a_publisher_has_sent_its_backlog() {
    let mut world = World::new(1);
    // Half of the stream from the sixth second on, and the rest of it within half a second after five
    // seconds.
    world.arrival = |time| {
        let millis = Duration::from_millis;
        match time.as_millis() {
            ..5_000 => time,
            5_000..7_500 => millis(5_000) + 2 * (time - millis(5_000)),
            7_500..10_500 => millis(10_000) + (time - millis(7_500)) / 6,
            _ => time,
        }
    };
    world.join(0);
    world.run(Duration::from_secs(15));
    let ages = ages(&world);
    let most = ages.iter().max().unwrap();
    assert!(*most > Duration::from_millis(2_400), "{most:?}");
    let after = &ages[ages.len() - 120..];
    let latest = after.iter().max().unwrap();
    assert!(*latest <= Duration::from_millis(20), "{latest:?}");
    assert!(ages.len() > 450, "{}", ages.len());
}

#[test]
fn sixty_frames_per_second_leave_as_evenly_as_they_come() {
    let mut world = World::new(1);
    world.interval = Duration::from_secs(1) / 60;
    world.join(0);
    world.run(Duration::from_secs(10));
    let left = &world.clients[0].left;
    assert!(left.len() > 590, "{}", left.len());
    // After the start.
    let mut off: Vec<Duration> = left[60..]
        .windows(2)
        .map(|pair| (pair[1] - pair[0]).abs_diff(world.interval))
        .collect();
    off.sort_unstable();
    let p95 = off[off.len() * 95 / 100];
    assert!(p95 <= Duration::from_millis(8), "{p95:?}");
}
