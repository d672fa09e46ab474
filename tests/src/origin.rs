//! nginx with its RTMP module: another server, from which streams are pulled.

use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Command;

use tempfile::TempDir;

use crate::process::Process;
use crate::wait::eventually;

/// Attempts to find a free port: nginx cannot be told to choose one.
const ATTEMPTS: u32 = 5;

/// A running nginx with the RTMP application `live`.
#[derive(Debug)]
pub struct Nginx {
    /// Its RTMP address.
    pub rtmp: SocketAddr,
    process: Process,
    _folder: TempDir,
}

impl Nginx {
    /// Starts nginx on loopback.
    ///
    /// # Panics
    /// When it does not start.
    pub async fn start() -> Self {
        for _ in 0..ATTEMPTS {
            let mut nginx = Self::start_on(free_port());
            let started = eventually("nginx listens or ends", async || {
                let accepts = TcpStream::connect(nginx.rtmp).is_ok();
                (accepts || !nginx.process.is_running()).then_some(accepts)
            });
            if started.await {
                return nginx;
            }
        }
        panic!("nginx did not start");
    }

    /// Returns the URL of a stream of the application `live`.
    #[must_use]
    pub fn url(&self, stream: &str) -> String {
        format!("rtmp://{}/live/{stream}", self.rtmp)
    }

    fn start_on(rtmp: SocketAddr) -> Self {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let configuration = format!(
            "load_module /usr/lib/nginx/modules/ngx_rtmp_module.so;\n\
             daemon off;\nmaster_process off;\npid {folder}/pid;\nerror_log stderr info;\n\
             events {{ }}\n\
             rtmp {{ server {{ listen {rtmp}; application live {{ live on; }} }} }}\n",
            folder = folder.path().display()
        );
        let file = folder.path().join("nginx.conf");
        fs::write(&file, configuration).expect("a file can be written");
        let mut command = Command::new("nginx");
        command
            .arg("-c")
            .arg(&file)
            .args(["-e", "stderr", "-p"])
            .arg(folder.path());
        Self {
            rtmp,
            process: Process::start("nginx", command),
            _folder: folder,
        }
    }
}

fn free_port() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    listener.local_addr().expect("the system tells the address")
}
