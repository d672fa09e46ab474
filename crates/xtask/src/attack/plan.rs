//! The attacks, and the needs of each.

use std::path::PathBuf;

use clap::builder::PossibleValuesParser;

use crate::load::{self, LoadError, Programs};

/// One attack, by the name that `hostile` has for it.
pub(super) struct Plan {
    pub(super) name: &'static str,
    /// Tables of the gateway's configuration beside the common ones.
    pub(super) configuration: &'static str,
    /// Source of the attacker's streams.
    material: Material,
}

/// A clip.
#[derive(Clone, Copy)]
enum Material {
    /// The clip that honest publishers send.
    Common,
    /// One of 8192x4320 with B-frames.
    Big,
}

impl Plan {
    const fn new(name: &'static str) -> Self {
        Self {
            name,
            configuration: "",
            material: Material::Common,
        }
    }

    /// Returns the clip for the attacker.
    pub(super) fn clip(&self, programs: &Programs) -> Result<PathBuf, LoadError> {
        match self.material {
            Material::Common => programs.clip(),
            Material::Big => load::clip(&programs.folder, "attack-8192x4320", BIG_CLIP),
        }
    }
}

/// Few places, so that the attack fills them within its time.
const FEW_CONNECTIONS: &str = "[requests]\nmax_connections = 200\n";

/// Names below `pull/` are pulled from the attacker, at [`super::network::ORIGIN`].
const PULL: &str = "[[pull]]\nmatch = \"pull/*\"\nfrom = \"rtmp://192.0.2.66:1935/live\"\n";

/// Three seconds of a still frame.
const BIG_CLIP: &[&str] = &[
    "-f",
    "lavfi",
    "-i",
    "color=gray:size=8192x4320:rate=10",
    "-t",
    "3",
    "-c:v",
    "libx264",
    "-preset",
    "veryfast",
    "-bf",
    "3",
    "-pix_fmt",
    "yuv420p",
    "-b:v",
    "300k",
    "-f",
    "flv",
];

/// All attacks, in the order of the table.
pub(super) const PLANS: &[Plan] = &[
    Plan::new("amf-aggregate"),
    Plan::new("amf-before-connect"),
    Plan::new("pinned-slices"),
    Plan::new("tiny-timestamps"),
    Plan::new("aac-headers"),
    Plan::new("forged-address"),
    Plan::new("forged-handshake"),
    Plan::new("sctp-sack"),
    Plan {
        configuration: FEW_CONNECTIONS,
        ..Plan::new("http-pipeline")
    },
    Plan {
        configuration: PULL,
        ..Plan::new("pull-flood")
    },
    Plan::new("idle-players"),
    Plan::new("event-streams"),
    Plan::new("metadata"),
    Plan::new("patch-flood"),
    Plan {
        material: Material::Big,
        ..Plan::new("big-video")
    },
    Plan::new("idle-names"),
    Plan::new("half-handshakes"),
    Plan::new("silent-tcp"),
    Plan::new("junk-records"),
];

/// Returns the names, for the command line.
pub(super) fn names() -> PossibleValuesParser {
    PLANS
        .iter()
        .map(|plan| plan.name)
        .collect::<Vec<_>>()
        .into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attack::network::ORIGIN;

    #[test]
    fn streams_are_pulled_from_the_attacker() {
        assert!(PULL.contains(&format!("rtmp://{ORIGIN}/")), "{PULL}");
    }
}
