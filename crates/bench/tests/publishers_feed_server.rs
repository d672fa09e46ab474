//! A swarm of publishers feeds a real server.
#![allow(clippy::unwrap_used, reason = "test code")]

use std::path::Path;
use std::thread;
use std::time::Duration;

use distributary_bench::publishers::{self, PublishersConfig, Stays};
use distributary_hub::{Hub, HubConfig};
use distributary_rtmp::{RtmpConfig, RtmpServer};
use tokio::sync::oneshot;

/// Runs a server of at most two publishers while `test` does its work with its URL.
fn with_server<T>(test: impl FnOnce(&str, &Hub) -> T) -> T {
    let hub = Hub::new(HubConfig::default());
    let (stop, stopped) = oneshot::channel();
    let (address, addressed) = std::sync::mpsc::sync_channel(1);
    let config = RtmpConfig {
        listen: "127.0.0.1:0".parse().unwrap(),
        publishers: distributary_rtmp::PublishersConfig {
            max: 2,
            ..distributary_rtmp::PublishersConfig::default()
        },
        ..RtmpConfig::default()
    };
    let servers_hub = hub.clone();
    let server = thread::spawn(move || {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.enable_all().build().unwrap();
        runtime.block_on(async {
            let server = RtmpServer::bind(config, servers_hub).unwrap();
            address.send(server.local_addr()).unwrap();
            server
                .run(async {
                    let _ = stopped.await;
                })
                .await;
        });
    });
    let address = addressed.recv().unwrap();
    let result = test(&format!("rtmp://{address}/live/load"), &hub);
    stop.send(()).unwrap();
    server.join().unwrap();
    result
}

fn config(url: &str, publishers: usize, file: Option<&str>) -> PublishersConfig {
    let assets = Path::new(env!("CARGO_MANIFEST_DIR")).join("../gateway/assets");
    PublishersConfig {
        url: url.parse().unwrap(),
        publishers,
        file: file.map(|file| assets.join(file)),
        ramp: 100.0,
        duration: Duration::from_millis(500),
        stays: None,
        server_pid: Some(std::process::id()),
    }
}

#[test]
fn every_publisher_sends_the_clip() {
    let report = with_server(|url, _| publishers::run(&config(url, 2, Some("demo.flv")))).unwrap();
    assert!(report.failures.is_empty(), "{:?}", report.failures);
    assert_eq!(report.publish.unwrap().count, 2);
    assert!(report.tags_per_second > 0.0, "{report}");
    assert!(report.server.unwrap().cpu_us_per_tag.is_some());
}

#[test]
fn publishers_leave_and_come_back_under_their_names() {
    let report = with_server(|url, _| {
        publishers::run(&PublishersConfig {
            duration: Duration::from_secs(3),
            stays: Some(Stays {
                stay: Duration::from_millis(100),
                away: Duration::from_millis(10),
            }),
            ..config(url, 2, Some("demo.flv"))
        })
    });
    let report = report.unwrap();
    assert!(report.failures.is_empty(), "{:?}", report.failures);
    // More than two for each: properly, and by an end of the connection.
    assert!(report.returns > 4, "{report}");
}

#[test]
fn publishers_may_send_nothing_and_those_refused_are_counted() {
    let report = with_server(|url, hub| {
        let report = publishers::run(&config(url, 3, None)).unwrap();
        assert!(hub.streams().len() <= 2);
        report
    });
    assert_eq!(report.publish.unwrap().count, 2);
    assert_eq!(report.failures.values().sum::<usize>(), 1);
    let (reason, _) = report.failures.first_key_value().unwrap();
    assert!(reason.contains("limit of 2 publishers"), "{reason}");
    assert_eq!(report.tags_per_second, 0.0);
}
