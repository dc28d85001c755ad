//! Random texts with a bias to what is hard to read. The same seed gives the same texts.

use serde_json::{Value, json};

pub(crate) struct Generator {
    state: u64,
    /// How many were made, for names of their own.
    made: usize,
}

impl Generator {
    pub(crate) fn new(seed: u64) -> Self {
        Self { state: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1, made: 0 }
    }

    fn below(&mut self, limit: usize) -> usize {
        // xorshift64*
        self.state ^= self.state >> 12;
        self.state ^= self.state << 25;
        self.state ^= self.state >> 27;
        let random = self.state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33;
        usize::try_from(random).unwrap_or_default() % limit
    }

    fn one_of<'a>(&mut self, choices: &[&'a str]) -> &'a str {
        choices[self.below(choices.len())]
    }

    pub(crate) fn often(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    fn some(&mut self, most: usize, choices: &[&str]) -> String {
        (0..self.below(most + 1)).map(|_| self.one_of(choices)).collect()
    }

    pub(crate) fn env_file(&mut self) -> String {
        const PIECES: &[&str] = &[
            "a",
            "b c",
            "=",
            ":",
            "#",
            " #",
            "'",
            "\"",
            "\\",
            "\\n",
            "\\\"",
            "\\'",
            "\\$",
            "\\0101",
            "\\044",
            "\\a\\v",
            "$",
            "$$",
            "$A",
            "${A}",
            "${A:-d}",
            "${B-}",
            "${A:+x}",
            "\t",
            " ",
            "\u{a0}",
            "\u{85}",
            "\r",
            "é",
            "{",
            "}",
            "$1",
            "$(x)",
            "\n",
            "x y",
            "\u{2003}",
            "[",
            ".",
            "-",
            "~",
            "${",
            "${A:",
            "${A!b}",
            "${C:?gone}",
            "${C?}",
            "${A:-${B:-x}}",
            "\\\n",
            "\u{feff}",
            ",",
        ];
        let mut text = if self.often(3) { "\u{feff}".to_owned() } else { String::new() };
        for _ in 0..=self.below(4) {
            if self.often(10) {
                text += self.one_of(&["# c\n", "\n", "  \n", "\t# x\n"]);
            }
            text += self.one_of(&["", "", "", "", "export ", "export\t", " ", "export", "export\n"]);
            text += self.one_of(&[
                "A",
                "B",
                "C",
                "A",
                "B",
                "C",
                "A.b",
                "D-e",
                "_F",
                "G[0]",
                "1",
                "é",
                "A B",
                "A*",
                "A\"",
                "",
                "A/b",
                "\u{2003}A",
            ]);
            text += self.one_of(&["=", "=", "=", "=", "=", " = ", "=\t", ": ", "=\u{a0}", "\n", " ", "==", "+="]);
            let quote = self.one_of(&["", "", "\"", "'"]);
            let value = self.some(5, PIECES);
            let end = if self.often(90) { quote } else { self.one_of(&["", "\"", "'"]) };
            text += &format!("{quote}{value}{end}");
            text += self.one_of(&["\n", "\n", "\n", "\n", "\r\n", " # c\n", " B=y\n", ""]);
        }
        text
    }

    pub(crate) fn template(&mut self) -> String {
        let mut text = String::new();
        for _ in 0..=self.below(3) {
            text += &self.reference(3);
        }
        text
    }

    fn reference(&mut self, depth: usize) -> String {
        let plain =
            ["a", " ", "{", "}", "$$", "$", "\n", ":", "-", "?", "{}", "\"", "é", "$1", "b}c", "{d", "+", "x\ny"];
        if depth == 0 || self.often(40) {
            return self.some(3, &plain);
        }
        let name = self.one_of(&["SET", "BLANK", "NONE", "_x", "", "1"]);
        if self.often(20) {
            return format!("${name}");
        }
        let operator = self.one_of(&["", "", ":-", "-", ":+", "+", ":?", "?", "!", ":"]);
        let inner = if operator.is_empty() { String::new() } else { self.reference(depth - 1) };
        let end = self.one_of(&["}", "}", "}", "}", "}", ""]);
        format!("${{{name}{operator}{inner}{end}")
    }

    pub(crate) fn yaml(&mut self) -> String {
        const BASES: [&str; 3] = [
            "  a: x\n  b: { c: \"d\", e: 'f' }\n  g: [a, \"b\",\n      c]\n  h:\n    - x: y\n      z: 1\n    - \"q: r\"\n",
            "  k: &a\n    l: |\n      text\n      more\n    m: >-\n      folded\n  u:\n    <<: *a\n    o: w # c\n  p: [\n  1\n  ]\n",
            "  q: [1, -0x1F, 017, 1.5, .5, 1e3, ~, null, true, False, 1_000, 0b11, 12:30, 2020-01-01]\n  r: !!str 5\n  s: ? t\n",
        ];
        const PIECES: &[&str] = &[
            "\n",
            "  ",
            " ",
            "\t",
            ":",
            ": ",
            "- ",
            "[",
            "]",
            "{",
            "}",
            ",",
            "\"",
            "'",
            "#",
            " #",
            "|",
            ">",
            "&b ",
            "*a",
            "!!str ",
            "? ",
            "@",
            "%",
            "é",
            "\u{a0}",
            "\\",
            "\\n",
            "~",
            "null",
            "1.5",
            "<<: ",
            "a: ",
            "-1",
            "+",
            "z: |+\n    t\n",
            "  w: >+\n    t",
            "\\/",
            "\"é\\/\"",
            "\"a\\\\/b\"",
            "\"\\x41\\N\\_\\e\\0\\u00e9\"",
        ];
        let mut text = BASES[self.below(BASES.len())].to_owned();
        for _ in 0..self.below(4) {
            let mut at = self.below(text.len() + 1);
            while !text.is_char_boundary(at) {
                at -= 1;
            }
            if self.often(40) {
                let mut end = (at + self.below(5)).min(text.len());
                while !text.is_char_boundary(end) {
                    end -= 1;
                }
                text.replace_range(at..end.max(at), "");
            } else {
                text.insert_str(at, self.one_of(PIECES));
            }
        }
        text
    }

    pub(crate) fn service(&mut self) -> Value {
        self.made += 1;
        let mut service = json!({ "image": "x" });
        let forms: [(&str, Vec<Value>); 15] = [
            (
                "tmpfs",
                vec![
                    json!("/run"),
                    json!(["/run", "/tmp:size=1m"]),
                    json!(["/a:ro"]),
                    json!("/b:mode=1777,size=1m"),
                    json!(["/t:mode=755,ro,size=1m", "/u:rw"]),
                    json!(["${TM:-/k:ro}", "${TN:-/l}:size=1m"]),
                ],
            ),
            (
                "networks",
                vec![json!(["n"]), json!({ "n": null, "m": { "aliases": ["x", "${AL:-y}"] } }), json!(["n", "m"])],
            ),
            (
                "environment",
                vec![
                    json!(["A=1", "B", "C="]),
                    json!({ "A": "1", "B": null, "C": 5, "D": true }),
                    json!(["A=${X:-d}"]),
                    json!({ "E": 1.5 }),
                    json!({ "F": 1e6, "G": 1e-5, "H": 123_456_789_012_345_678_901_234_567_890_f64, "I": 1e3, "J": -0.5 }),
                ],
            ),
            (
                "volumes",
                vec![
                    json!(["vol:/v"]),
                    json!(["vol:/v:ro"]),
                    json!([{ "type": "volume", "source": "vol", "target": "/w", "read_only": true }]),
                    json!(["/anonymous"]),
                    json!(["${S:-vol}:/x"]),
                    json!([{ "type": "tmpfs", "target": "/t" }]),
                    json!(["./x:/y", "/abs:/z:ro,z", "~/h:/i:ro"]),
                    json!(["vol:/v:rw", "vol:/u:rw,nocopy", "vol:/r:ro,volume-nocopy"]),
                    json!(["${S:-vol}:${T:-/q}", "${ALL:-vol:/p:ro}", "${BOTH:-./a:/b}"]),
                    json!([{ "type": "bind", "source": "/a", "target": "${T:-/o}", "read_only": "${RO:-true}" }]),
                    json!(["C:\\x:/w:ro"]),
                    json!(["vol:/v:${MO:-ro}", "/abs:/z:z,${MO:-ro}", "${S:-vol}:${T:-/q}:${MP:-rw}"]),
                ],
            ),
            ("read_only", vec![json!(true), json!(false), json!("${RO:-true}"), json!("${RO:-false}")]),
            (
                "healthcheck",
                vec![
                    json!({ "test": "a b" }),
                    json!({ "test": ["CMD", "a", "b"] }),
                    json!({ "test": ["CMD-SHELL", "a b"] }),
                    json!({ "test": ["NONE"] }),
                    json!({ "disable": true }),
                    json!({ "test": "a ${X:-b} $$c" }),
                    json!({ "test": ["CMD", "${X:-a}", "$$b"] }),
                    json!({ "test": "NONE" }),
                    json!({ "disable": "${OFF:-true}" }),
                    json!({ "interval": "5s" }),
                ],
            ),
            ("profiles", vec![json!(["local"]), json!(["a", "b"]), json!(["${P:-local}"])]),
            ("container_name", vec![json!(format!("${{CN:-c{}}}", self.made))]),
            ("secrets", vec![json!(["sec"]), json!([{ "source": "sec", "target": "/abs/s", "mode": "0400" }])]),
            ("configs", vec![json!(["con"]), json!([{ "source": "con", "target": "/etc/c", "mode": "0440" }])]),
            ("ports", vec![json!(["8080:80", "53:53/udp"]), json!([90, "${PORT:-1}:2"]), json!(["127.0.0.1::7"])]),
            ("user", vec![json!("1"), json!("a:b"), json!("${U:-7}")]),
            (
                "extra_hosts",
                vec![
                    json!(["h:10.0.0.1"]),
                    json!({ "h": "10.0.0.1", "i": "::1" }),
                    json!(["j=10.0.0.2", "${H:-k}:10.0.0.3"]),
                ],
            ),
            ("shm_size", vec![json!("1m"), json!(1024)]),
            (
                "build",
                vec![
                    json!({ "context": ".", "args": { "A": "1", "B": "x" } }),
                    json!({ "context": ".", "args": ["A=1"] }),
                    json!("."),
                ],
            ),
        ];
        for (key, values) in forms {
            if self.often(45) {
                service[key] = values[self.below(values.len())].clone();
            }
        }
        if self.often(10) && service["networks"].is_null() {
            service["network_mode"] = json!(self.one_of(&["host", "none"]));
        }
        service
    }

    pub(crate) fn manifest(&mut self) -> Value {
        let value = |generator: &mut Self| match generator.below(12) {
            0 => json!(8080),
            1 => json!(true),
            2 => json!(1.5),
            3 => json!(null),
            4 => json!(["x"]),
            5 => json!({ "a": "b" }),
            6 => json!(""),
            _ => json!("text"),
        };
        let mut env = Vec::new();
        for at in 0..self.below(3) {
            let mut entry = json!({ "name": format!("A{at}"), "value": value(self) });
            if self.often(15) {
                entry["valueFrom"] = json!({ "fieldRef": { "fieldPath": "status.podIP" } });
            }
            if self.often(5) {
                entry["name"] = value(self);
            }
            env.push(entry);
        }
        let init = if self.often(20) {
            json!([{ "name": "i", "image": "x", "env": [{ "name": "B", "value": value(self) }] }])
        } else {
            json!(null)
        };
        let pod = json!({ "containers": [{ "name": "c", "image": "x", "env": env }], "initContainers": init });
        match self.below(4) {
            0 => json!({ "apiVersion": "v1", "kind": "Pod", "metadata": {}, "spec": pod }),
            1 => json!({ "apiVersion": "batch/v1", "kind": "CronJob", "metadata": {},
                "spec": { "schedule": "* * * * *", "jobTemplate": { "spec": { "template": { "spec": pod } } } } }),
            _ => {
                json!({ "apiVersion": "apps/v1", "kind": self.one_of(&["Deployment", "StatefulSet", "DaemonSet"]), "metadata": {},
                "spec": { "selector": {}, "template": { "spec": pod } } })
            }
        }
    }

    pub(crate) fn dockerfile(&mut self) -> String {
        self.dockerfile_of(&[])
    }

    /// With what builders of before 2023 refuse.
    pub(crate) fn modern_dockerfile(&mut self) -> String {
        const MORE: &[&str] = &[
            "${V_?gone}",
            "${V_:?}",
            "${V_",
            "${V_!x}",
            "${V_:-${V_:-e}}",
            "${V_-'x y'}",
            "${V_+\"}\"}",
            "${}",
            "$1",
            "$@",
            "`",
            "\\\\\n",
            "<",
            "[",
        ];
        self.dockerfile_of(MORE)
    }

    fn dockerfile_of(&mut self, more: &[&str]) -> String {
        const PIECES: &[&str] = &[
            "a",
            "b",
            " ",
            "  ",
            "\\ ",
            "\"",
            "'",
            "\"x y\"",
            "'x y'",
            "\\\"",
            "\\'",
            "\\\\",
            "\\n",
            "$",
            "\\$",
            "$V_",
            "${V_}",
            "${V_:-d}",
            "${V_:+e}",
            "\\\n",
            " \\\n",
            "\\\n# c\n",
            "\\\n\n",
            "=",
            "#",
            "é",
            "\t",
            "{",
            "}",
            "\\  \n",
        ];
        self.made += 1;
        let own = format!("V_{}_", self.made);
        let mut text = String::new();
        for at in 0..=self.below(2) {
            let keyword = self.one_of(&["ENV", "ENV", "env", "Env", "LABEL", "label", "ARG"]);
            let separator = self.one_of(&["=", "=", "=", "=", " ", "\t"]);
            let separator = if keyword == "ARG" { "=" } else { separator };
            let value = self.some(5, &[PIECES, more].concat()).replace("V_", &format!("{own}0"));
            // A further word is a name to ARG, which builders of before 2023 took for text with quotes and references.
            let is_cut = keyword == "ARG" && more.is_empty();
            let first = value.split(char::is_whitespace).next().unwrap_or_default().trim_end_matches('\\');
            let value = if is_cut { first } else { &value };
            let next = if self.often(25) { format!(" {own}9=z") } else { String::new() };
            text += &format!("{}{keyword} {own}{at}{separator}{value}{next}\n", self.one_of(&["", "", " ", "\t"]));
            if self.often(15) {
                text += self.one_of(&["# c\n", "\n", "  # d\n", "\r\n"]);
            }
        }
        // A continuation that is still open takes this line, and not the next snippet's.
        text + &format!("ENV {own}8=end\n")
    }

    /// A file from its first line: directives, arguments before the first stage, stages upon each other.
    pub(crate) fn whole_dockerfile(&mut self) -> String {
        const DIRECTIVES: &[&str] = &[
            "# escape=`\n",
            "#escape = \\\n",
            "# Escape=`\n",
            "# escape=\n",
            "# escape=x\n",
            "# c\n# escape=`\n",
            "\n# escape=`\n",
            "# check=skip=all\n",
            "# escape=`\n# escape=`\n",
            "# check=skip=all\n# escape=`\n",
            "  # escape=`\n",
            "# a=b\n# escape=`\n",
        ];
        const OTHERS: &[&str] = &[
            "USER 1\n",
            "user 1\n",
            "WORKDIR /x\n",
            "EXPOSE 1\n",
            "CMD x\n",
            "ENTRYPOINT [\"x\"]\n",
            "SHELL [\"x\"]\n",
            "HEALTHCHECK NONE\n",
            "STOPSIGNAL SIGINT\n",
            "ONBUILD RUN x\n",
            "ONBUILD ENV V_b=${\n",
            "ONBUILD env V_b\n",
            "ONBUILD NOPE x\n",
            "ONBUILD FROM x\n",
            "ONBUILD ONBUILD RUN x\n",
            "NOPE x\n",
            "ENV\u{a0}V_a=1\n",
            "ENV\u{b}V_a=1\n",
            "\\\n",
            "\\\nENV V_a=1\n",
            "`\n",
            "ENV --x V_a=1\n",
            "ENV -- V_a=1\n",
            "ARG --x=1 V_a=1\n",
            "LABEL --x=\"a b\" V_a=1\n",
            "ENV \\--x V_a=1\n",
            "ENV\n",
            "LABEL\n",
            "ARG V_a=1 V_b V_c=$V_a\n",
            "ARG\n",
            "ENV \"V_a b\n",
            "ENV ${V_a} b\n",
            "ENV $V_ac=1\n",
            "ENV \"V_a\"=1\n",
            "LABEL \"V_a b\"=1\n",
            "ENV V_a b=c\n",
            "ENV 'V_a'x b\n",
            "LABEL V_a=1 \"V_b\"=\"x y\"\n",
            "# c\n",
            "\n",
            "\t\n",
        ];
        let mut text = self.one_of(&["", "", "", "", "", "", "", "", "", "\u{feff}"]).to_owned();
        if self.often(40) {
            text += self.one_of(DIRECTIVES);
        }
        if self.often(40) {
            text += self.one_of(&[
                "ARG V_a=g\n",
                "arg V_a\n",
                "ARG V_a=g V_b=$V_a\n",
                "ARG V_c=\"x\"\n",
                "ENV V_a=1\n",
                "ARG V_a=scratch\n",
            ]);
        }
        let mut base = "scratch".to_owned();
        let last = self.below(2);
        for stage in 0..=last {
            let from = self.one_of(&["FROM", "FROM", "from", " FROM", "FROM --platform=linux/amd64"]);
            text += &format!("{from} {base} {} stage{stage}\n", self.one_of(&["AS", "as"]));
            base = format!("stage{stage}");
            for _ in 0..self.below(4) {
                if self.often(30) {
                    // What is left for later is carried out in the next stage.
                    let other = self.one_of(OTHERS);
                    text += if other.starts_with("ONBUILD") && stage < last { "ONBUILD ENV V_b=$V_a\n" } else { other };
                    continue;
                }
                let snippet = self.modern_dockerfile();
                let own = format!("V_{}_", self.made);
                let name = self.one_of(&["V_a", "V_b", "V_c"]);
                text += &snippet.replace(&own, name).replace("\\", self.one_of(&["\\", "\\", "`"]));
            }
        }
        if self.often(10) { text.replace('\n', "\r\n") } else { text }
    }

    /// Instructions with here-documents whose lines would be instructions if they were read as such. `ONBUILD` so that nothing is run:
    /// an image of nothing has no shell.
    pub(crate) fn here_documents(&mut self) -> String {
        const NAMES: &[&str] = &[
            "EOF", "\"EOF\"", "'EOF'", "E\"O\"F", "\\EOF", "E_1", "é", "EO\\F", "\"E F\"", "E'O", "$V_", "", "E<F",
            "E=F",
        ];
        const OPENERS: &[&str] =
            &["<<", "<<", "<<", "<<-", "<<-", "<<<", "2<<", "<< ", "<<- ", "a<<", "\"<<", "'<<", "\\<<", "<\\\n<"];
        self.made += 1;
        let own = format!("V_{}_", self.made);
        let mut text = String::new();
        for at in 0..=self.below(2) {
            let keyword = self.one_of(&[
                "ONBUILD RUN",
                "onbuild  run",
                "ONBUILD COPY",
                "ONBUILD\tadd",
                "ENV x=1",
                "ONBUILD ENV y=1",
            ]);
            text += keyword;
            let mut ends = Vec::new();
            for _ in 0..=self.below(2) {
                let (opener, name) = (self.one_of(OPENERS), self.one_of(NAMES));
                text += &format!("{}{opener}{name}", self.one_of(&[" ", " ", " ", "\t", "  ", " x "]));
                ends.push(name.replace(['"', '\'', '\\'], ""));
            }
            text += self.one_of(&[" /f/\n", " /f/\n", " /f/\n", "\n", " /f/ \\\n\n", " \\\n /f/\n", " # c\n"]);
            for end in ends {
                for line in 0..self.below(3) {
                    let body = format!("ENV {own}{at}{line}=x\n");
                    text +=
                        self.one_of(&[&body, &body, &body, "\n", "# c\n", "anything\n", "x \\\n", "EOFF\n", " EOF\n"]);
                }
                text += self.one_of(&["", "", "", "\t", " "]);
                text += &end;
                text += self.one_of(&["\n", "\n", "\n", "\n", "\r\n", " \n", ""]);
            }
        }
        text + &format!("\nENV {own}8=end\n")
    }

    pub(crate) fn anything(&mut self) -> String {
        let text = match self.below(6) {
            0 => self.env_file(),
            1 => self.template(),
            2 => self.yaml(),
            3 => self.dockerfile(),
            4 => self.service().to_string(),
            _ => self.manifest().to_string(),
        };
        // Cut anywhere, repeated, nested.
        let mut end = self.below(text.len() + 1);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        let text = if self.often(50) { &text[..end] } else { &text };
        let times = if self.often(10) { 1 + self.below(400) } else { 1 };
        text.repeat(times)
    }
}
