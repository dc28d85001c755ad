//! The images: how large, how large before, how large they may be, and what grew.

use maud::{Markup, html};
use serde::Deserialize;
use xtask_outcome::Report;

use crate::frame::{Section, scrolled};
use crate::{chart, evidence, words};

/// An image as `build-images` leaves it in its evidence.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Image {
    pub(crate) name: String,
    pub(crate) id: String,
    pub(crate) bytes: u64,
    /// What the program says of itself.
    pub(crate) program: Option<String>,
    #[serde(default)]
    pub(crate) limit_bytes: Option<u64>,
    /// The build before of this machine.
    #[serde(default)]
    pub(crate) before_bytes: Option<u64>,
    /// The files whose sizes changed since, the largest change first.
    #[serde(default)]
    pub(crate) changed: Vec<Changed>,
}

#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Changed {
    path: String,
    before_bytes: u64,
    bytes: u64,
}

pub(crate) fn of(report: &Report) -> Vec<Image> {
    evidence::find(report, &["images"]).unwrap_or_default()
}

pub(crate) fn section(report: &Report) -> Option<Section> {
    let images = of(report);
    if images.is_empty() {
        return None;
    }
    let sizes = images.iter().flat_map(|image| [Some(image.bytes), image.limit_bytes, image.before_bytes]);
    let whole = sizes.flatten().max().unwrap_or(1) as f64;
    let all: u64 = images.iter().map(|image| image.bytes).sum();
    let body = html! {
        (scrolled("Images and their sizes", &table(&images, whole)))
        (grown(&images))
    };
    let aside = format!("{}, {}", words::counted(images.len(), "image", "images"), words::bytes(all));
    Some(Section { id: "images", title: "Images", aside, body })
}

fn table(images: &[Image], whole: f64) -> Markup {
    html! {
        table {
            caption {
                "All files of all layers, uncompressed. In a bar the long mark is the limit, the short one the build before on this machine."
            }
            thead { tr {
                th scope="col" { "Image" } th.number scope="col" { "Size" } th.number scope="col" { "Limit" }
                th.number scope="col" { "Before" } th.number scope="col" { "Change" }
                th.bars scope="col" { "Size against limit" } th scope="col" { "Program" } th scope="col" { "Id" }
            } }
            tbody { @for image in images { tr {
                th scope="row" { (image.name) }
                td.number { (words::bytes(image.bytes)) }
                td.number { @match image.limit_bytes { Some(limit) => (words::bytes(limit)), None => "none" } }
                td.number { @match image.before_bytes { Some(before) => (words::bytes(before)), None => "–" } }
                td.number { @match image.before_bytes {
                    Some(before) => (change(before, image.bytes)), None => "–",
                } }
                td.bars { (bar(image, whole)) }
                td { @match &image.program { Some(program) => code { (words::short_commits(program)) }, None => "cannot be started" } }
                td { code title=(image.id) { (words::short(&image.id)) } }
            } } }
        }
    }
}

/// A growth is told by its sign, not by a colour: the limit decides.
pub(crate) fn change(before: u64, now: u64) -> Markup {
    html! { @if before == now { span.quiet { "no change" } } @else { (words::growth(before, now)) } }
}

fn bar(image: &Image, whole: f64) -> Markup {
    let is_over = image.limit_bytes.is_some_and(|limit| image.bytes > limit);
    let limit = image.limit_bytes.map(|bytes| (bytes as f64, "limit"));
    let before = image.before_bytes.map(|bytes| (bytes as f64, "before"));
    let marks: Vec<_> = limit.into_iter().chain(before).collect();
    chart::gauge(image.bytes as f64, whole, if is_over { "bad" } else { "plain" }, &marks)
}

fn grown(images: &[Image]) -> Markup {
    let changed: Vec<_> =
        images.iter().flat_map(|image| image.changed.iter().map(|file| (image.name.as_str(), file))).collect();
    html! {
        @if !changed.is_empty() {
            details { summary { "What changed since the build before" }
                (scrolled("Files whose sizes changed", &html! {
                    table {
                        caption { "The files of each image whose sizes changed most." }
                        thead { tr {
                            th scope="col" { "Image" } th scope="col" { "File" } th.number scope="col" { "Before" }
                            th.number scope="col" { "Now" } th.number scope="col" { "Change" }
                        } }
                        tbody { @for (image, file) in changed { tr {
                            th scope="row" { (image) } td { code { (file.path) } }
                            td.number { (words::bytes(file.before_bytes)) } td.number { (words::bytes(file.bytes)) }
                            td.number { (change(file.before_bytes, file.bytes)) }
                        } } }
                    }
                }))
            }
        }
    }
}
