//! Players and checks from npm for the tests, unpacked below the build folder. Nothing of them is
//! run outside the browser.

use std::io;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

/// A package: its name, its version, and the digest of its archive as `package-lock.json` has it.
struct Package {
    name: &'static str,
    version: &'static str,
    integrity: &'static str,
}

/// The fetched packages. Versions and digests are fixed, so that a failing test means a fault of
/// the gateway.
const PACKAGES: [Package; 5] = [
    // The client of the author of the WHEP draft.
    Package {
        name: "@binbat/whip-whep",
        version: "1.1.1-sdp-trickle-throw",
        integrity: "sha512-JFoNBEms4ECrbDd7LG2k5XP2DpGTUMGzaiCK7tjWyHYrrn58eb5BAJAX1GNQhrwkmBCRoIlhGTXULxKo6tsFug==",
    },
    // A player that answers offers, too.
    Package {
        name: "@eyevinn/webrtc-player",
        version: "0.13.0",
        integrity: "sha512-X5Nzznbyw9PXj85HYV7nyHSbeC0tWpTTAFEYjilnlLLWfo9EARx1tCQk5tdhmImnDST8VN50SYt6uMDudoVnWw==",
    },
    // The reader of MediaMTX, in a package for React.
    Package {
        name: "mediamtx-webrtc-react",
        version: "0.1.0",
        integrity: "sha512-DtogbaPS+Or2rMm1Lt4lniujL5kQSZX1slql6OZ9gi2ijTvRMUYG+H63hqbaYKhLDS1rknv7qLcml2/PvSiUQg==",
    },
    // The checks of accessibility, which run in the pages.
    Package {
        name: "axe-core",
        version: "4.14.1",
        integrity: "sha512-FHfa+lmNjQZfJz1q8wKqIDwC6DExcHt/pkjNQb09a3NPjCKg2rhu5qb2S4r76ASyFNNtuFooJpZe37OgudVGtQ==",
    },
    // What that of Eyevinn is made with.
    Package {
        name: "events",
        version: "3.3.0",
        integrity: "sha512-mQw+2fkQbALzQ7V0MY0IqdnXNOeTtP4r0lN9z7AAawCXgqea7bDii20AYrIBrFd/Hx0M2Ocz6S111CaFkUcb0Q==",
    },
];

/// A package is not there.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NpmError {
    /// It is missing, and may not be fetched.
    #[error("{folder} is missing: `cargo xtask test` fetches {package} from npm")]
    Missing { folder: String, package: String },
    /// It cannot be fetched or unpacked.
    #[error("`{command}` failed: {reason}")]
    Fetch { command: String, reason: String },
    /// The archive is another one than it was.
    #[error("the archive of {package} has the digest {found}, not the one it should have")]
    Digest { package: String, found: String },
    /// The folder cannot be written.
    #[error("the packages of npm cannot be written: {0}")]
    Write(#[from] io::Error),
}

/// Makes sure that all packages are in `tools/npm` of the build folder, each as `<name>/package/`.
pub(crate) fn ensure(target: &Path, install: bool) -> Result<(), NpmError> {
    let folder = target.join("tools").join("npm");
    PACKAGES
        .iter()
        .try_for_each(|package| package.ensure(&folder, install))
}

impl Package {
    fn ensure(&self, folder: &Path, install: bool) -> Result<(), NpmError> {
        let home = folder.join(self.name);
        let fetched = home.join("fetched.txt");
        if std::fs::read_to_string(&fetched).is_ok_and(|text| text == self.integrity) {
            return Ok(());
        }
        let package = format!("{}@{}", self.name, self.version);
        if !install {
            let folder = home.display().to_string();
            return Err(NpmError::Missing { folder, package });
        }
        println!("fetching {package} from npm");
        std::fs::create_dir_all(&home)?;
        let mut pack = Command::new("npm");
        pack.args(["pack", "--json", "--pack-destination"])
            .arg(&home)
            .arg(&package);
        let output = run(&mut pack)?;
        let report: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        let member = |name: &str| report[0][name].as_str().unwrap_or_default().to_owned();
        let found = member("integrity");
        if found != self.integrity {
            return Err(NpmError::Digest { package, found });
        }
        // npm of old wrote the name of a scoped package with its slash; the file never had one.
        let archive = member("filename").replace('@', "").replace('/', "-");
        let mut tar = Command::new("tar");
        tar.arg("-xzf").arg(home.join(archive)).arg("-C").arg(&home);
        run(&mut tar)?;
        Ok(std::fs::write(&fetched, self.integrity)?)
    }
}

fn run(command: &mut Command) -> Result<Output, NpmError> {
    let failed = |reason: String, command: &Command| NpmError::Fetch {
        command: format!("{command:?}"),
        reason,
    };
    match command.output() {
        Ok(output) if output.status.success() => Ok(output),
        Ok(output) => {
            let errors = String::from_utf8_lossy(&output.stderr);
            Err(failed(format!("{}: {errors}", output.status), command))
        }
        Err(error) => Err(failed(error.to_string(), command)),
    }
}
