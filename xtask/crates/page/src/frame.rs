//! The frame of the page: what stands in its head, and how its sections follow each other.

use maud::{DOCTYPE, Markup, PreEscaped, html};
use xtask_outcome::Report;

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");
/// What the page may do: its own style and script, named by their hashes, and nothing else. What a report quotes can therefore
/// neither load nor run anything, should it ever get past the escaping. A test computes the hashes.
pub(crate) const POLICY: &str = concat!(
    "default-src 'none'; base-uri 'none'; form-action 'none'; ",
    "style-src 'sha256-GEF6awk6JAoO/97+JCGGhKtNyhw0F5q4RCWI4bLazeI='; ",
    "script-src 'sha256-gXEqfxI3fWkkTyAdjabpAj7a+KPIJ2jb3rgn9WAEf9Y='"
);

/// A part of the page with its heading.
pub(crate) struct Section {
    /// The fragment by which it is linked.
    pub(crate) id: &'static str,
    /// Its heading.
    pub(crate) title: &'static str,
    /// What the table of contents says beside the title: a count, or nothing.
    pub(crate) aside: String,
    pub(crate) body: Markup,
}

/// The whole page.
pub(crate) fn page(report: &Report, banner: &Markup, sections: &[Section]) -> String {
    let title = format!("{} · {}", report.verdict.word().to_uppercase(), command(report));
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta http-equiv="Content-Security-Policy" content=(POLICY);
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                meta name="referrer" content="no-referrer";
                title { (title) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                a.skip href="#verdict" { "Skip to the verdict" }
                (banner)
                div.columns {
                    nav.contents aria-label="Sections" {
                        ul {
                            @for section in sections {
                                li { a href={ "#" (section.id) } {
                                    (section.title)
                                    @if !section.aside.is_empty() { " " span.aside { (section.aside) } }
                                } }
                            }
                        }
                    }
                    main {
                        @for section in sections {
                            section id=(section.id) aria-labelledby={ (section.id) "-title" } {
                                h2 id={ (section.id) "-title" } { (section.title) }
                                (section.body)
                            }
                        }
                    }
                }
                footer {
                    p {
                        "Made by " code { (command(report)) } " from the same report as "
                        a href={ (report.command) ".json" } { (report.command) ".json" }
                        ", which has everything in full. This page loads nothing."
                    }
                }
                script { (PreEscaped(SCRIPT)) }
            }
        }
    };
    page.into_string()
}

/// `cargo xtask verify`.
pub(crate) fn command(report: &Report) -> String {
    format!("cargo xtask {}", report.command)
}

/// A wide table that scrolls within itself, also by keyboard. `label` names it for a screen reader.
pub(crate) fn scrolled(label: &str, table: &Markup) -> Markup {
    html! { div.scroll role="region" aria-label=(label) tabindex="0" { (table) } }
}
