#![allow(
    clippy::disallowed_methods,
    reason = "an origin for the simulated clock"
)]

mod policed;

use super::rate::Congestion;
use super::test_path::{PACKET, Path};
use super::*;

impl Path {
    /// Sends `rate` bits per second as frames for `seconds`, limited as by a pacer, with every 60th
    /// frame six times as large. Returns the part that the limit let through.
    fn stream(&mut self, rate: u64, seconds: u64) -> f64 {
        let (mut wanted, mut sent) = (0_u64, 0_u64);
        let end = self.now + seconds * 1_000_000;
        let mut backlog = 0_u64;
        let mut credit = 0_f64;
        let mut next_frame = self.now;
        let mut number = 0;
        while self.now < end {
            if self.now >= next_frame {
                next_frame += 33_333;
                let size = rate / 30 / 8 / PACKET as u64;
                let size = if number % 60 == 0 {
                    6 * size
                } else {
                    size * 59 / 65 + 1
                };
                number += 1;
                wanted += size;
                backlog += size;
            }
            match self.estimator.limit() {
                None => credit = f64::MAX,
                Some(limit) => {
                    credit = credit.min(6000.0) + limit as f64 / 8.0 * 0.001;
                }
            }
            while backlog > 0 && credit >= PACKET as f64 {
                self.send_packet();
                credit -= PACKET as f64;
                backlog -= 1;
                sent += 1;
            }
            let late = backlog * PACKET as u64 * 8_000 / rate;
            if late > 300 && self.estimator.limit().is_some() {
                self.estimator.note_held(self.instant());
            }
            if late > 1000 {
                // Late frames are dropped.
                backlog /= 2;
            }
            self.now += 1000;
            if self.now >= self.next_feedback {
                self.next_feedback += 60_000;
                self.feed_back();
            }
        }
        sent as f64 / wanted as f64
    }
}

#[test]
fn path_that_carries_the_stream_never_limits_it() {
    let mut path = Path::new(20_000_000);
    for _ in 0..120 {
        assert!(path.stream(8_000_000, 5) > 0.999);
        assert_eq!(path.estimator.limit(), None);
    }
    let estimate = path.estimator.estimate().unwrap();
    assert!(estimate > 8_000_000, "{estimate}");
}

#[test]
fn barely_sufficient_path_loses_almost_nothing() {
    let mut path = Path::new(10_000_000);
    path.stream(8_000_000, 10);
    let through = path.stream(8_000_000, 60);
    assert!(through > 0.97, "{through}");
}

#[test]
fn ten_percent_of_random_loss_does_not_limit_the_stream() {
    let mut path = Path::new(20_000_000);
    path.loss_permille = 100;
    for _ in 0..60 {
        path.stream(4_000_000, 1);
        assert_eq!(path.estimator.limit(), None);
    }
}

/// Evaluates reports of a second each with these parts of the packets lost; more than 30 % are congestion
/// by themselves. `is_held`: the limit delays the stream, if there is one.
fn report_loss(rate: &mut RateController, now: &mut Instant, losses: &[f64], is_held: bool) {
    for loss in losses.iter().copied() {
        *now += Duration::from_secs(1);
        if is_held {
            rate.note_held(*now);
        }
        let verdict = Verdict {
            loss,
            congested: (loss > 0.3).then_some(Congestion::Loss),
            clear: loss < 0.05,
            delivered: Some(1e6),
            ..Verdict::default()
        };
        rate.update(*now, verdict, Duration::from_millis(50));
    }
}

#[test]
fn loss_that_counts_on_a_policed_path_alone_does_not_prove_again_that_it_is_one() {
    let mut now = Instant::now();
    let mut rate = RateController::new(now);
    report_loss(&mut rate, &mut now, &[0.4, 0.1], true);
    // As random as it is on a path that loses some packets by chance.
    for _ in 0..20 {
        assert!(rate.limit().is_some());
        report_loss(&mut rate, &mut now, &[0.1, 0.02], true);
    }
    report_loss(&mut rate, &mut now, &[0.1; 3], false);
    assert_eq!(rate.limit(), None);
}

#[test]
fn loss_that_is_gone_after_a_move_does_not_prove_that_the_path_is_policed() {
    let mut now = Instant::now();
    let mut rate = RateController::new(now);
    report_loss(&mut rate, &mut now, &[0.4], true);
    rate.restore(now);
    report_loss(&mut rate, &mut now, &[0.0, 0.25, 0.25], false);
    assert_eq!(rate.limit(), None);
}

#[test]
fn path_of_half_the_rate_is_detected_and_its_queue_stays_short() {
    let mut path = Path::new(20_000_000);
    path.stream(4_000_000, 10);
    path.capacity = 2_000_000;
    path.waited = 0;
    path.stream(4_000_000, 2);
    assert!(path.estimator.limit().is_some(), "{:?}", path.estimator);
    assert!(path.waited < 1_000_000, "{} us", path.waited);
    path.stream(4_000_000, 3);
    path.waited = 0;
    let through = path.stream(4_000_000, 30);
    assert!(path.waited < 400_000, "{} us", path.waited);
    assert!((0.35..0.55).contains(&through), "{through}");
    let estimate = path.estimator.estimate().unwrap();
    assert!((1_000_000..2_800_000).contains(&estimate), "{estimate}");
}

#[test]
fn limit_is_removed_when_the_path_recovers() {
    let mut path = Path::new(2_000_000);
    path.stream(4_000_000, 20);
    assert!(path.estimator.limit().is_some());
    path.capacity = 20_000_000;
    path.stream(4_000_000, 8);
    let through = path.stream(4_000_000, 20);
    assert_eq!(path.estimator.limit(), None);
    assert!(through > 0.99, "{through}");
}

#[test]
fn path_that_drops_instead_of_queueing_is_detected_by_loss() {
    let mut path = Path::new(2_000_000);
    path.longest_queue = 20_000;
    path.stream(4_000_000, 5);
    assert!(path.estimator.limit().is_some());
    let through = path.stream(4_000_000, 30);
    assert!((0.3..0.7).contains(&through), "{through}");
}

#[test]
fn loss_that_less_sending_does_not_cure_is_no_reason_to_send_less() {
    let mut path = Path::new(50_000_000);
    path.loss_permille = 300;
    path.stream(4_000_000, 20);
    let through = path.stream(4_000_000, 20);
    assert!(through > 0.9, "{through}");
}

#[test]
fn longer_route_is_not_taken_for_a_queue_for_long() {
    let mut path = Path::new(20_000_000);
    path.stream(4_000_000, 10);
    // Every packet takes 200 ms more at any rate.
    path.delay += 200_000;
    path.stream(4_000_000, 15);
    let through = path.stream(4_000_000, 10);
    assert!(through > 0.95, "{through}");
    assert_eq!(path.estimator.limit(), None);
}

/// Returns the report of the receiver of so many packets, of which so many were lost, that quotes a
/// sender report of this time.
fn report(packets: u64, lost: u64, quoted: u32) -> ReportBlock {
    ReportBlock {
        ssrc: 5,
        fraction_lost: 0,
        cumulative_lost: lost as i32,
        highest_sequence: packets as u32,
        jitter: 0,
        last_sender_report: quoted,
        delay: 0,
    }
}

/// What was sent and lost so far, and the number of reports.
#[derive(Default)]
struct Counters {
    bytes: u64,
    packets: u64,
    lost: u64,
    reports: u32,
}

/// Reports once a second for `rate` bits per second sent; the round trip in milliseconds, and the loss
/// in 256ths.
fn report_seconds(
    estimator: &mut PathEstimator,
    at: &mut Instant,
    sent: &mut Counters,
    seconds: u64,
    (rate, round_trip, lost): (u64, u64, u64),
) {
    for _ in 0..seconds {
        *at += Duration::from_secs(1);
        sent.bytes += rate / 8;
        sent.packets += 256;
        sent.lost += lost;
        sent.reports += 1;
        let round_trip = Some(Duration::from_millis(round_trip));
        let block = report(sent.packets, sent.lost, sent.reports);
        estimator.handle_report(*at, &block, round_trip, (sent.bytes, sent.packets));
    }
}

#[test]
fn without_transport_feedback_the_round_trip_shows_a_queue() {
    let mut at = Instant::now();
    let mut estimator = PathEstimator::new(at, 40_000_000, false);
    let mut sent = Counters::default();
    report_seconds(&mut estimator, &mut at, &mut sent, 30, (4_000_000, 20, 3));
    assert_eq!(estimator.limit(), None);
    report_seconds(&mut estimator, &mut at, &mut sent, 1, (4_000_000, 300, 3));
    assert_eq!(estimator.limit(), None, "once may be by chance");
    report_seconds(&mut estimator, &mut at, &mut sent, 1, (4_000_000, 400, 3));
    assert!(estimator.limit().is_some_and(|limit| limit < 3_500_000));
    report_seconds(&mut estimator, &mut at, &mut sent, 6, (2_000_000, 25, 3));
    assert_eq!(estimator.limit(), None);
}

#[test]
fn low_remb_counts_only_with_loss_or_a_queue() {
    let mut at = Instant::now();
    let mut estimator = PathEstimator::new(at, 40_000_000, false);
    let mut sent = Counters::default();
    estimator.handle_remb(1_000_000);
    report_seconds(&mut estimator, &mut at, &mut sent, 30, (4_000_000, 20, 0));
    assert_eq!(estimator.limit(), None);
    assert_eq!(estimator.estimate(), Some(1_000_000));
    report_seconds(&mut estimator, &mut at, &mut sent, 2, (4_000_000, 20, 40));
    assert!(estimator.limit().is_some_and(|limit| limit < 1_000_000));
}

#[test]
fn estimate_stays_within_bounds_for_any_input() {
    let mut at = Instant::now();
    let mut estimator = PathEstimator::new(at, 40_000_000, false);
    let mut sent = Counters::default();
    let much = 1_000_000_000_000;
    report_seconds(&mut estimator, &mut at, &mut sent, 5, (much, 20, 0));
    report_seconds(&mut estimator, &mut at, &mut sent, 3, (much, 400, 0));
    assert!(estimator.limit().is_some());
    report_seconds(&mut estimator, &mut at, &mut sent, 1, (much, 20, 0));
    assert!(
        estimator
            .estimate()
            .is_some_and(|rate| rate <= 1_000_000_000)
    );
    report_seconds(&mut estimator, &mut at, &mut sent, 9, (0, 400, 255));
    assert!(estimator.estimate().is_some_and(|rate| rate >= 100_000));
}

#[test]
fn limit_stays_while_the_old_queue_drains() {
    let mut path = Path::new(20_000_000);
    path.stream(1_200_000, 10);
    path.capacity = 500_000;
    path.stream(1_200_000, 2);
    path.waited = 0;
    for second in 0..20 {
        path.stream(1_200_000, 1);
        assert!(path.estimator.limit().is_some(), "{second} s");
    }
    assert!(path.waited < 1_500_000, "{} us", path.waited);
}

#[test]
fn report_that_answers_a_cluster_does_not_say_that_there_is_no_queue() {
    let start = Instant::now();
    let mut estimator = PathEstimator::new(start, 40_000_000, false);
    estimator.catch_up_rate(1_000_000, StreamPart::Backlog);
    let report = |estimator: &mut PathEstimator, second: u64, quoted, round_trip| {
        let now = start + Duration::from_secs(second);
        let round_trip = Some(Duration::from_millis(round_trip));
        let block = report(100 * second, 0, quoted);
        estimator.handle_report(now, &block, round_trip, (125_000 * second, 100 * second));
        estimator.state().is_clear
    };
    assert!(!report(&mut estimator, 1, 1, 50));
    assert!(report(&mut estimator, 2, 2, 50));
    assert!(report(&mut estimator, 3, 3, 50));
    assert!(!report(&mut estimator, 4, 4, 130), "there is a queue");
    assert!(!report(&mut estimator, 5, 4, 50), "that is the same");
    let at = |millis| start + Duration::from_millis(millis);
    assert!(estimator.begin_probe(at(5000), 2_000_000));
    for tick in 0..=20 {
        estimator.note_probe(at(5000 + 5 * tick), 1200);
    }
    assert!(estimator.wants_report());
    estimator.note_sender_report(at(5100), 7);
    assert!(!report(&mut estimator, 6, 7, 50), "still unknown");
    assert!(report(&mut estimator, 7, 8, 50));
}
