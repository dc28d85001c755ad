//! A panic is a fault of xtask itself: one line says what happened and where the backtrace lies.

use std::backtrace::Backtrace;
use std::fmt::Write as _;

use camino::Utf8PathBuf;
use xtask_outcome::{Ending, Outcome};
use xtask_workspace::Project;

fn file(project: &Project) -> Utf8PathBuf {
    project.out().join(format!("panic-{}.txt", std::process::id()))
}

/// From now on a panic is written into a file of this process instead of on the screen.
pub(crate) fn install(project: &Project) {
    let file = file(project);
    std::panic::set_hook(Box::new(move |panic| {
        let mut text = std::fs::read_to_string(&file).unwrap_or_default();
        let thread = std::thread::current();
        let _ =
            writeln!(text, "thread {}: {panic}\n{}", thread.name().unwrap_or("unnamed"), Backtrace::force_capture());
        if std::fs::write(&file, &text).is_err() {
            // A full disk: then on the screen.
            eprintln!("{text}");
        }
    }));
}

/// Says in each failure by a panic where its backtrace lies.
pub(crate) fn locate(project: &Project, outcome: &mut Outcome) {
    let file = file(project);
    let file = file.strip_prefix(&project.root).unwrap_or(&file);
    // The first panic is the cause; a thread's name stands before it, its backtrace behind it.
    let text = std::fs::read_to_string(project.root.join(file)).unwrap_or_default();
    let lines: Vec<_> = text.lines().take_while(|line| !line.trim_start().starts_with("0:")).collect();
    let cause = lines.join(" ");
    for failure in outcome.failures.iter_mut().filter(|failure| failure.ending == Ending::Panicked) {
        if !cause.is_empty() {
            failure.message = format!("xtask panicked: {cause}");
        }
        let _ = write!(failure.message, "; this is a bug of xtask, its backtrace is in {file}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use xtask_outcome::{Report, Verdict};

    #[test]
    fn a_panic_is_one_line_that_says_where_its_backtrace_lies() {
        let folder = tempfile::tempdir().unwrap();
        let mut project = Project::load(env!("CARGO_MANIFEST_DIR")).unwrap();
        project.root = camino::Utf8PathBuf::from_path_buf(folder.path().to_owned()).unwrap();
        project.target = project.root.join("target");
        std::fs::create_dir_all(project.out()).unwrap();
        install(&project);
        let mut outcome = Outcome::default();
        outcome.command(|_| panic!("byte index 3 is not a char boundary"));
        drop(std::panic::take_hook());
        locate(&project, &mut outcome);
        let report = Report::running("audit-env", "cargo xtask audit-env").ended(outcome, 1.0);
        assert_eq!((report.verdict, report.exit_code()), (Verdict::Panicked, 5));
        let file = file(&project);
        assert!(
            report.headline.contains("byte index 3")
                && report.headline.ends_with(file.strip_prefix(&project.root).unwrap().as_str())
        );
        let text = std::fs::read_to_string(&file).unwrap();
        assert!(text.contains("byte index 3") && text.contains("panics.rs"), "{text}");
    }
}
