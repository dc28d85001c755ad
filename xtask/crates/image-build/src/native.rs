//! What a build lacks of the system, read from what compilers and build scripts print: a missing program or library becomes a
//! package to name instead of a page of cargo's output.

use crate::plan::Strategy;

/// Where the packages for the container strategy are named.
const PACKAGES: &str = "xtask/docker/packages.txt";

/// What is printed when a program is missing, and the Debian package that has it.
const PROGRAMS: [(&[&str], &str); 7] = [
    (&["the pkg-config command could not be found", "pkg-config: not found"], "pkg-config"),
    (&["is `cmake` not installed?", "cmake: not found"], "cmake"),
    (&["command 'perl' not found", "perl: not found", ".pm in @inc"], "perl"),
    (&["command 'make' not found", "make: not found"], "make"),
    (&["failed to find tool \"c++\"", "failed to find tool \"g++\""], "g++"),
    (&["could not find `protoc`"], "protobuf-compiler"),
    (&["unable to find libclang"], "libclang-dev"),
];

/// The next step for a build that failed with these words, when they say that something of the system is missing.
pub(super) fn next_step(words: &str, strategy: Strategy) -> Option<String> {
    let missing = missing(words)?;
    let package = match &missing {
        Missing::Program(package) => format!("the package `{package}`"),
        Missing::Described(library) => {
            format!("the -dev package that has {library}.pc (https://packages.debian.org finds it by that file)")
        }
        Missing::Linked(library) => {
            format!(
                "the -dev package that has lib{library}.a: the programs are static, so the shared library is not enough"
            )
        }
    };
    Some(match strategy {
        Strategy::Container => format!("{missing} is missing in the builder; next: name {package} in {PACKAGES}"),
        Strategy::Host | Strategy::Dev => {
            format!("{missing} is missing on this machine; next: install {package}, or build with --strategy container")
        }
    })
}

#[derive(Debug, PartialEq, Eq)]
enum Missing {
    Program(&'static str),
    /// What pkg-config was asked for.
    Described(String),
    /// What the linker was asked for.
    Linked(String),
}

impl std::fmt::Display for Missing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Program(package) => write!(f, "{package}"),
            Self::Described(library) | Self::Linked(library) => write!(f, "the library {library}"),
        }
    }
}

fn missing(words: &str) -> Option<Missing> {
    let lower = words.to_lowercase();
    let program = PROGRAMS.iter().find(|(said, _)| said.iter().any(|said| lower.contains(said)));
    if let Some((_, package)) = program {
        return Some(Missing::Program(package));
    }
    if let Some(library) = between(words, "The system library `", "`") {
        return Some(Missing::Described(library.to_owned()));
    }
    let library = words.split("cannot find -l").nth(1)?;
    let end = library.find(|c: char| c.is_whitespace() || c == ':').unwrap_or(library.len());
    (end > 0).then(|| Missing::Linked(library[..end].to_owned()))
}

fn between<'a>(text: &'a str, before: &str, after: &str) -> Option<&'a str> {
    let rest = text.split_once(before)?.1;
    rest.split_once(after).map(|(inside, _)| inside)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_system_lacks_is_named_with_its_package() {
        let table = [
            ("Could not run `pkg-config --libs zlib`\nThe pkg-config command could not be found.", "pkg-config"),
            ("failed to execute command: No such file or directory (os error 2)\nis `cmake` not installed?", "cmake"),
            ("Error configuring OpenSSL build:\n  Command 'perl' not found. Is perl installed?", "perl"),
            ("Can't locate FindBin.pm in @INC (you may need to install the FindBin module)", "perl"),
            ("failed to find tool \"c++\": No such file or directory", "g++"),
        ];
        for (words, package) in table {
            let text = next_step(words, Strategy::Container).unwrap();
            assert!(text.contains(&format!("`{package}` in xtask/docker/packages.txt")), "{text}");
            let text = next_step(words, Strategy::Host).unwrap();
            assert!(text.contains(&format!("install the package `{package}`, or build with --strategy")), "{text}");
        }
        let described = "The system library `libpq` required by crate `pq-sys` was not found.";
        assert!(next_step(described, Strategy::Container).unwrap().contains("that has libpq.pc"));
        let linked = "/usr/bin/ld: cannot find -lz: No such file or directory";
        assert!(next_step(linked, Strategy::Container).unwrap().contains("that has libz.a"));
    }

    #[test]
    fn an_ordinary_compile_error_is_not_called_a_missing_package() {
        for words in ["", "error[E0425]: cannot find value `x` in this scope", "ld: cannot find -l"] {
            assert_eq!(next_step(words, Strategy::Container), None, "{words}");
        }
    }
}
