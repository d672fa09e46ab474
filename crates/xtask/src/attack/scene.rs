//! One attack with its participants.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use super::health::Asker;
use super::network::{ATTACKER, GATEWAY, ORIGIN};
use super::plan::Plan;
use super::sampler::Sampler;
use super::table::Row;
use crate::load::{Gateway, LoadError, Programs, Running, io_error};

/// From the start of the innocent viewer to that of the attack: it measures after some more than a
/// second.
const LEAD: Duration = Duration::from_secs(2);

/// From the end of the attack to the last sample of memory.
const REST: Duration = Duration::from_secs(10);

/// The common parts of all attacks.
pub(super) struct Scene {
    pub(super) programs: Programs,
    pub(super) gateway: PathBuf,
    pub(super) clip: PathBuf,
    pub(super) seconds: u32,
    pub(super) rate: u32,
    /// In bytes.
    pub(super) memory_limit: u64,
}

impl Scene {
    /// Plays one attack on a fresh gateway.
    pub(super) fn play(&self, plan: &Plan) -> Result<Row, LoadError> {
        let material = plan.clip(&self.programs)?;
        let log = self
            .programs
            .folder
            .join(format!("attack-{}.log", plan.name));
        let gateway = self.start(plan, &log)?;
        let _publisher = gateway.serve(&self.programs, &self.clip, 1)?;
        let viewer = self.viewer(&gateway)?;
        thread::sleep(LEAD);

        let sampler = Sampler::start(gateway.pid(), self.memory_limit);
        let asker = Asker::start(gateway.address("HTTP").to_owned());
        let log_before = size(&log);
        let attacker = self.attacker(plan, &gateway, &material)?;
        // Early enough that clients that cannot connect have timed out before the attack ends.
        thread::sleep(Duration::from_secs(self.seconds.into()) / 3);
        let newcomer = self.newcomer(&gateway)?;
        let publisher = self.publisher(&gateway)?;
        let newcomer = time(newcomer, "/join/first_keyframe/max");
        let publisher = time(publisher, "/publish/max");
        let attacker = attacker.report()?;
        let log_growth = size(&log).saturating_sub(log_before);
        let health = asker.stop();
        // Without a gateway there may be no report.
        let viewer = viewer.report().unwrap_or_default();
        thread::sleep(REST);
        Ok(Row {
            attack: plan.name,
            course: sampler.stop(),
            health,
            newcomer,
            publisher,
            viewer,
            attacker,
            log_growth,
        })
    }

    fn start(&self, plan: &Plan, log: &Path) -> Result<Gateway, LoadError> {
        let configuration = self.programs.folder.join("attack.toml");
        let text = format!(
            "rtmp = \"{GATEWAY}:0\"\nhttp = \"{GATEWAY}:0\"\nwebrtc = \"{GATEWAY}:0\"\n\
             admin = \"127.0.0.1:0\"\n{}",
            plan.configuration
        );
        fs::write(&configuration, text).map_err(io_error("the gateway's configuration"))?;
        let log = File::create(log).map_err(io_error("the gateway's log"))?;
        Gateway::start(&self.gateway, &configuration, log)
    }

    /// Starts the honest viewer, which watches all the time.
    fn viewer(&self, gateway: &Gateway) -> Result<Running, LoadError> {
        let mut viewer = gateway.swarm(&self.programs, 1);
        let seconds = u64::from(self.seconds) + LEAD.as_secs();
        viewer.args(["--duration", &format!("{seconds}s"), "--json"]);
        Running::start(&mut viewer, "whep-swarm")
    }

    /// Returns an honest newcomer.
    fn newcomer(&self, gateway: &Gateway) -> Result<Running, LoadError> {
        let mut newcomer = gateway.swarm(&self.programs, 1);
        newcomer.args(["--duration", "1s", "--json"]);
        Running::start(&mut newcomer, "whep-swarm")
    }

    /// Starts an honest publisher.
    fn publisher(&self, gateway: &Gateway) -> Result<Running, LoadError> {
        let mut publisher = gateway.publisher(&self.programs, "newcomer", &self.clip);
        publisher.args(["--duration", "1s", "--json"]);
        Running::start(&mut publisher, "rtmp-swarm")
    }

    fn attacker(
        &self,
        plan: &Plan,
        gateway: &Gateway,
        material: &Path,
    ) -> Result<Running, LoadError> {
        let mut attacker = self.programs.command("hostile");
        attacker.arg(plan.name).arg("--clip").arg(material);
        for (option, address) in [
            ("--rtmp", "RTMP"),
            ("--http", "HTTP"),
            ("--media", "WebRTC"),
        ] {
            attacker.args([option, gateway.address(address)]);
        }
        attacker.args(["--from", ATTACKER, "--origin", ORIGIN]);
        attacker.args(["--duration", &format!("{}s", self.seconds)]);
        attacker.args(["--rate", &self.rate.to_string()]);
        Running::start(&mut attacker, "hostile")
    }
}

/// Returns a value of a program's report, if nothing in it has failed.
fn time(program: Running, pointer: &str) -> Option<f64> {
    let report = program.report().ok()?;
    let failures = report["failures"].as_object()?;
    let time = report.pointer(pointer)?.as_f64();
    time.filter(|_| failures.is_empty())
}

fn size(path: &Path) -> u64 {
    fs::metadata(path).map_or(0, |metadata| metadata.len())
}
