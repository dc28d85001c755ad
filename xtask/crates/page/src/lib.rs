//! The report as one page of HTML: made from the same value as the JSON, with its style, script and charts inside, so that it
//! opens from a disk, a mail or an artifact of a workflow. It loads nothing, and its own policy forbids that it could.

mod changes;
mod chart;
mod comparison;
mod contract;
mod evidence;
mod faults;
mod figures;
mod findings;
mod frame;
mod hardening;
mod images;
mod journey;
mod made_with;
mod scan;
mod shelf;
mod steps;
mod verdict;
mod words;

use xtask_outcome::Report;

use self::changes::Earlier;
use self::frame::Section;
pub use self::shelf::Shelf;

/// The page of a report. `earlier` is the report of the command's run before, as it was stored; one that is not understood is
/// as good as none.
pub fn page(report: &Report, earlier: Option<&[u8]>) -> String {
    let earlier = earlier.and_then(Earlier::read);
    let sections: Vec<Section> = [
        findings::section(report),
        changes::section(report, earlier.as_ref()),
        steps::section(report),
        images::section(report),
        scan::section(report),
        contract::section(report),
        hardening::section(report),
        journey::section(report),
        faults::section(report),
        figures::section(report),
        comparison::section(report),
        verdict::checked(report),
        made_with::section(report),
    ]
    .into_iter()
    .flatten()
    .collect();
    frame::page(report, &verdict::banner(report), &sections)
}

#[cfg(test)]
mod tests;
