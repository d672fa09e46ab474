//! The probe of the tests: it reads frame numbers from the video that Chromium shows.

use distributary_tests::browser::Browser;
use distributary_tests::page::Page;

/// Draws a frame with `number` like the test clip, and plays it in a video.
const PLAY: &str = "(() => {
    const canvas = document.createElement('canvas');
    [canvas.width, canvas.height] = [640, 360];
    const context = canvas.getContext('2d');
    window.draw = (number) => {
        for (let bit = 0; bit < 16; bit += 1) {
            const set = (number >> bit) & 1;
            context.fillStyle = set ? '#fff' : '#000';
            context.fillRect(40 * bit, 0, 40, 45);
            context.fillStyle = set ? '#000' : '#fff';
            context.fillRect(40 * bit, 45, 40, 45);
        }
    };
    draw(0);
    const video = document.createElement('video');
    video.muted = true;
    video.srcObject = canvas.captureStream();
    document.body.append(video);
    return video.play();
})()";

#[tokio::test]
async fn probe_reads_the_frame_number() {
    let browser = Browser::start().await;
    browser.open(&Page::serve().url()).await;
    let () = browser.evaluate(PLAY).await;
    for number in [1, 0x8000, 0x1234, 0xffff] {
        let () = browser.evaluate(&format!("draw({number})")).await;
        let report = browser
            .wait_for("video", &format!("it shows {number}"), |report| {
                report.last_counter() == Some(number)
            })
            .await;
        assert_eq!((report.width, report.height), (640, 360));
    }
}

#[tokio::test]
async fn probe_reads_no_number_from_other_frames() {
    let browser = Browser::start().await;
    browser.open(&Page::serve().url()).await;
    let () = browser.evaluate(PLAY).await;
    browser
        .wait_for("video", "it shows 0", |report| {
            report.last_counter() == Some(0)
        })
        .await;
    let fill = "(() => {
        const context = document.createElement('canvas').getContext('2d');
        context.canvas.width = 640;
        context.fillStyle = '#888';
        context.fillRect(0, 0, 640, 360);
        document.querySelector('video').srcObject = context.canvas.captureStream();
        context.fillRect(0, 0, 640, 360);
    })()";
    let () = browser.evaluate(fill).await;
    browser
        .wait_for("video", "it shows nothing readable", |report| {
            report.counters.last() == Some(&None)
        })
        .await;
}
