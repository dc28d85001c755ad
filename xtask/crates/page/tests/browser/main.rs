//! The page in a real browser: how it looks to eyes, to a keyboard, to a screen reader and on paper. `cargo xtask test --all`
//! runs it, and names the browser and axe-core; it says so where it finds none.

#![cfg(feature = "engine-tests")]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

mod chromium;
mod sample;

use std::path::PathBuf;

use base64::Engine as _;
use serde_json::{Value, json};
use xtask_page::page;

use crate::chromium::Chromium;

const WIDTHS: [u32; 3] = [360, 768, 1440];
const SCHEMES: [&str; 2] = ["light", "dark"];
/// WCAG 2 to level AA, and what axe-core calls good practice.
const AXE: &str = "axe.run(document, { resultTypes: ['violations'] }).then((result) => \
    result.violations.map((one) => one.id + ': ' + one.nodes.map((node) => node.target.join(' ')).slice(0, 5).join(', ')))";
/// What reaches beyond the right edge of a page that does not fit.
const TOO_WIDE: &str = "document.documentElement.scrollWidth <= document.documentElement.clientWidth ? [] : [...document.querySelectorAll('body *')]\
    .filter((one) => !one.closest('.scroll') && one.getBoundingClientRect().right > document.documentElement.clientWidth + 1).slice(0, 5).map((one) => one.outerHTML.slice(0, 120))\
    .concat('the page is ' + document.documentElement.scrollWidth + ' wide')";

/// A browser, a folder for its profile and its pages, and axe-core where `cargo xtask test --all` found it.
struct Bench {
    browser: Chromium,
    folder: tempfile::TempDir,
    axe: Option<String>,
}

impl Bench {
    /// `None` where no browser is named.
    fn open() -> Option<Self> {
        let Some(program) = variable("PAGE_TEST_BROWSER") else {
            println!("not run: PAGE_TEST_BROWSER names no Chromium (`cargo xtask test --all` looks for one)");
            return None;
        };
        let axe = variable("PAGE_TEST_AXE").map(|file| std::fs::read_to_string(file).unwrap());
        if axe.is_none() {
            println!("without axe-core: PAGE_TEST_AXE names no axe.min.js");
        }
        let folder = tempfile::tempdir().unwrap();
        let browser = Chromium::start(&program, &folder.path().join("profile"));
        Some(Self { browser, folder, axe })
    }

    /// Opens a page as a file, as it is opened from a disk or an artifact.
    fn show(&mut self, html: &str) {
        let file = self.folder.path().join("page.html");
        std::fs::write(&file, html).unwrap();
        self.browser.open(&format!("file://{}", file.display()));
    }

    fn screen(&mut self, width: u32, scheme: &str) {
        let metrics = json!({ "width": width, "height": 900, "deviceScaleFactor": 1, "mobile": false });
        self.browser.call("Emulation.setDeviceMetricsOverride", &metrics);
        let media = json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme }] });
        self.browser.call("Emulation.setEmulatedMedia", &media);
    }

    /// Everything that is wrong with the page that is shown.
    fn faults(&mut self) -> Vec<String> {
        let mut faults = Vec::new();
        if let Some(axe) = self.axe.clone() {
            self.browser.value(&format!("{axe}; 0"));
            faults.extend(texts(&self.browser.value(AXE)).map(|text| format!("axe: {text}")));
        }
        faults.extend(texts(&self.browser.value(TOO_WIDE)).map(|text| format!("too wide: {text}")));
        faults.extend(self.heard());
        faults
    }

    /// What the browser objected to since the page was opened, and what it asked for beside the page.
    fn heard(&self) -> Vec<String> {
        let mut faults = Vec::new();
        for event in self.browser.events("Log.entryAdded") {
            faults.push(format!("log: {}", event["entry"]["text"]));
        }
        for event in self.browser.events("Runtime.consoleAPICalled") {
            faults.push(format!("console: {}", event["args"][0]["value"]));
        }
        for event in self.browser.events("Runtime.exceptionThrown") {
            faults.push(format!("exception: {}", event["exceptionDetails"]["text"]));
        }
        for event in self.browser.events("Page.javascriptDialogOpening") {
            faults.push(format!("dialog: {}", event["message"]));
        }
        let requests = self.browser.events("Network.requestWillBeSent").into_iter();
        let urls = requests.filter_map(|event| event["request"]["url"].as_str());
        faults.extend(urls.filter(|url| !url.ends_with("/page.html")).map(|url| format!("request: {url}")));
        faults
    }

    /// Keeps a picture of the whole page.
    fn picture(&mut self, name: &str) {
        let size = self.browser.call("Page.getLayoutMetrics", &json!({}))["cssContentSize"].clone();
        let clip = json!({ "x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1 });
        let ask = json!({ "format": "png", "captureBeyondViewport": true, "clip": clip });
        let shot = self.browser.call("Page.captureScreenshot", &ask);
        let png = base64::engine::general_purpose::STANDARD.decode(shot["data"].as_str().unwrap()).unwrap();
        assert!(png.len() > 5000, "{name} is empty");
        keep(&format!("{name}.png"), &png);
    }
}

/// Under `target/page`, for a person to look at.
fn keep(name: &str, content: &[u8]) {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("../page");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join(name), content).unwrap();
}

#[expect(clippy::disallowed_methods, reason = "what `cargo xtask test --all` passes to this suite")]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

fn texts(list: &Value) -> impl Iterator<Item = &str> {
    list.as_array().into_iter().flatten().filter_map(Value::as_str)
}

#[test]
fn every_page_is_sound_at_every_width_in_both_schemes() {
    let Some(mut bench) = Bench::open() else { return };
    for (name, html) in sample::pages() {
        keep(&format!("{name}.html"), html.as_bytes());
        for width in WIDTHS {
            for scheme in SCHEMES {
                bench.screen(width, scheme);
                bench.show(&html);
                bench.picture(&format!("{name}-{width}-{scheme}"));
                // What is folded has to be sound as well.
                bench.browser.value("document.querySelectorAll('details').forEach((one) => one.open = true)");
                assert_eq!(bench.faults(), [""; 0], "{name} at {width}, {scheme}");
            }
        }
    }
}

#[test]
fn a_page_with_faults_is_found_out() {
    let Some(mut bench) = Bench::open() else { return };
    bench.screen(360, "light");
    let wide = r#"<p style="width:900px;color:#ccc;background:#fff">wide and pale</p><img src="missing.png"><script>console.error("said"); no()</script>"#;
    bench.show(&format!("<!doctype html><meta name=viewport content='width=device-width'>{wide}"));
    let faults = bench.faults();
    let mut expected = vec!["too wide: ", "console: ", "exception: ", "request: "];
    if bench.axe.is_some() {
        expected.extend(["axe: color-contrast", "axe: html-has-lang", "axe: image-alt"]);
    }
    for fault in expected {
        assert!(faults.iter().any(|found| found.starts_with(fault)), "{fault} is not in {faults:#?}");
    }
}

#[test]
fn the_schemes_differ_and_the_page_policy_stops_what_was_slipped_in() {
    let Some(mut bench) = Bench::open() else { return };
    let html = page(&sample::findings(), None);
    let paper = "getComputedStyle(document.body).backgroundColor";
    let mut seen = Vec::new();
    for scheme in SCHEMES {
        bench.screen(768, scheme);
        bench.show(&html);
        seen.push(bench.browser.value(paper));
    }
    assert_ne!(seen[0], seen[1]);
    // As if the escaping had failed.
    bench.show(&html.replace("<main>", "<main><script>document.title = 'ran'</script><img src='x.png'>"));
    assert_ne!(bench.browser.value("document.title"), "ran");
    let refused = bench.browser.events("Log.entryAdded").len();
    assert!(refused >= 2, "{refused} refusals");
}

#[test]
fn six_thousand_findings_are_filtered_by_rule_step_severity_and_text() {
    let Some(mut bench) = Bench::open() else { return };
    bench.screen(1440, "light");
    bench.show(&page(&sample::many(6000), None));
    let shown = "[...document.querySelectorAll('.findings li')].filter((one) => one.checkVisibility()).length";
    let choose = |name: &str, value: &str| {
        format!(
            "(() => {{ const form = document.getElementById('filters'); form.elements['{name}'].value = '{value}'; \
             form.elements['{name}'].dispatchEvent(new Event('input', {{ bubbles: true }})); \
             return form.querySelector('output').textContent; }})()"
        )
    };
    let listed = bench.browser.value(shown).as_u64().unwrap();
    assert!((1000..=2000).contains(&listed), "{listed}");
    for (name, value, expected) in [
        ("severity", "critical", 1),
        ("severity", "", listed),
        ("rule", "image-user", 1),
        ("rule", "", listed),
        ("steps", "audit-env", listed - 2),
        ("text", "Number 1017 many", 1),
        ("text", "no such text", 0),
    ] {
        let told = bench.browser.value(&choose(name, value));
        assert_eq!(bench.browser.value(shown), expected, "{name} {value}: {told}");
        assert!(told.as_str().unwrap().starts_with(&format!("{expected} of ")), "{told}");
    }
    assert_eq!(bench.heard(), [""; 0]);
}

#[test]
fn without_scripts_the_findings_are_a_plain_list() {
    let Some(mut bench) = Bench::open() else { return };
    bench.browser.call("Emulation.setScriptExecutionDisabled", &json!({ "value": true }));
    bench.show(&page(&sample::findings(), None));
    assert_eq!(bench.browser.value("document.getElementById('filters').checkVisibility()"), false);
    assert_eq!(
        bench.browser.value("document.querySelectorAll('.findings li').length"),
        sample::findings().findings.len()
    );
}

#[test]
fn the_keyboard_reaches_the_verdict_first_and_every_table_that_scrolls() {
    let Some(mut bench) = Bench::open() else { return };
    bench.screen(360, "light");
    bench.show(&page(&sample::findings(), None));
    let press = |bench: &mut Bench, key: &str, code: u32| {
        for kind in ["rawKeyDown", "keyUp"] {
            bench.browser.call(
                "Input.dispatchKeyEvent",
                &json!({ "type": kind, "key": key, "code": key, "windowsVirtualKeyCode": code }),
            );
        }
    };
    let focus = "document.activeElement.matches('.skip') ? 'skip' : document.activeElement.closest('.scroll') ? 'scroll ' + \
        document.activeElement.getAttribute('aria-label') : document.activeElement.tagName";
    press(&mut bench, "Tab", 9);
    assert_eq!(bench.browser.value(focus), "skip");
    assert_ne!(bench.browser.value("getComputedStyle(document.activeElement).outlineStyle"), "none");
    let mut scrolled = 0;
    for _ in 0..120 {
        press(&mut bench, "Tab", 9);
        scrolled += usize::from(bench.browser.value(focus).as_str().unwrap().starts_with("scroll "));
    }
    let visible = "[...document.querySelectorAll('.scroll')].filter((one) => one.checkVisibility()).length";
    assert!(scrolled as u64 >= bench.browser.value(visible).as_u64().unwrap(), "{scrolled} were reached");
}

#[test]
fn paper_shows_what_a_screen_folds() {
    let Some(mut bench) = Bench::open() else { return };
    bench.show(&page(&sample::findings(), None));
    let pdf = bench.browser.call("Page.printToPDF", &json!({ "preferCSSPageSize": true }));
    assert!(pdf["data"].as_str().unwrap().starts_with("JVBER"), "not a PDF");
    bench.browser.call("Emulation.setEmulatedMedia", &json!({ "media": "print" }));
    bench.browser.value("dispatchEvent(new Event('beforeprint'))");
    assert_eq!(bench.browser.value("document.querySelectorAll('details:not([open])').length"), 0);
    assert_eq!(bench.browser.value("document.querySelector('.contents').checkVisibility()"), false);
    bench.browser.value("dispatchEvent(new Event('afterprint'))");
    assert!(bench.browser.value("document.querySelectorAll('details:not([open])').length").as_u64().unwrap() > 0);
}
