//! trivy's database form, a bbolt file: writes small ones, whose buckets all stand in one page, and reads any.

/// A value, or a bucket in a bucket.
pub(crate) enum Entry {
    #[cfg_attr(not(feature = "engine-tests"), expect(dead_code, reason = "only real trivy reads values"))]
    Value(Vec<u8>),
    Bucket(Vec<u8>),
}

const HEADER: usize = 16;
const PAGE: usize = 4096;

pub(crate) fn bucket(entries: &[(Vec<u8>, Entry)]) -> Entry {
    // A bucket that stands within its parent has no page of its own: root 0, then the page itself.
    Entry::Bucket([vec![0; 16], leaf(0, 0, entries)].concat())
}

pub(crate) fn file(entries: &[(Vec<u8>, Entry)]) -> Vec<u8> {
    let size = leaf(0, 0, entries).len();
    let pages = size.div_ceil(PAGE).max(1);
    let mut file = vec![0; 3 * PAGE];
    for index in 0..2_u64 {
        let page = usize::try_from(index).unwrap() * PAGE;
        let mut meta = Vec::new();
        for value in [0xED0C_DAED_u32, 2, 4096, 0] {
            meta.extend(value.to_le_bytes());
        }
        for value in [3, 0, 2, 3 + pages as u64, 1 + index] {
            meta.extend(u64::to_le_bytes(value));
        }
        let sum = meta
            .iter()
            .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3));
        meta.extend(sum.to_le_bytes());
        file[page..page + 8].copy_from_slice(&index.to_le_bytes());
        file[page + 8..page + 10].copy_from_slice(&4_u16.to_le_bytes());
        file[page + HEADER..page + HEADER + meta.len()].copy_from_slice(&meta);
    }
    // An empty list of free pages.
    file[2 * PAGE..2 * PAGE + 8].copy_from_slice(&2_u64.to_le_bytes());
    file[2 * PAGE + 8..2 * PAGE + 10].copy_from_slice(&0x10_u16.to_le_bytes());
    file.extend(leaf(3, u32::try_from(pages - 1).unwrap(), entries));
    file.resize((3 + pages) * PAGE, 0);
    file
}

fn leaf(id: u64, overflow: u32, entries: &[(Vec<u8>, Entry)]) -> Vec<u8> {
    let mut sorted: Vec<_> = entries.iter().collect();
    sorted.sort_by(|a, b| a.0.cmp(&b.0));
    let mut page = id.to_le_bytes().to_vec();
    page.extend(2_u16.to_le_bytes());
    page.extend(u16::try_from(sorted.len()).unwrap().to_le_bytes());
    page.extend(overflow.to_le_bytes());
    let mut data: Vec<u8> = Vec::new();
    for (index, (key, entry)) in sorted.iter().enumerate() {
        let (flags, value) = match entry {
            Entry::Value(value) => (0_u32, value),
            Entry::Bucket(value) => (1, value),
        };
        let position = 16 * (sorted.len() - index) + data.len();
        for field in [position, key.len(), value.len()] {
            let field = u32::try_from(field).unwrap();
            if page.len() == HEADER + 16 * index {
                page.extend(flags.to_le_bytes());
            }
            page.extend(field.to_le_bytes());
        }
        data.extend(key);
        data.extend(value);
    }
    page.extend(data);
    page
}

/// What a file holds under a path of buckets, with the keys.
#[cfg(feature = "engine-tests")]
pub(crate) struct Reader(Vec<u8>);

#[cfg(feature = "engine-tests")]
impl Reader {
    pub(crate) fn open(path: &std::path::Path) -> Self {
        Self(std::fs::read(path).unwrap())
    }

    /// The entries of a top bucket; those of a bucket within it as entries of their own.
    pub(crate) fn bucket(&self, name: &str) -> Vec<(String, Found<'_>)> {
        // The meta page of the later transaction counts.
        let meta = [0, 1].map(|page| page * PAGE + HEADER).into_iter().max_by_key(|meta| self.long(meta + 48)).unwrap();
        let top = self.page(self.long(meta + 16));
        let (_, Found::Bucket(entries)) = top.into_iter().find(|(key, _)| key == name).unwrap() else {
            panic!("{name}")
        };
        entries
    }

    fn page(&self, id: usize) -> Vec<(String, Found<'_>)> {
        self.entries(id * PAGE)
    }

    fn entries(&self, page: usize) -> Vec<(String, Found<'_>)> {
        let branch = self.0[page + 8] == 1;
        let count = usize::from(u16::from_le_bytes([self.0[page + 10], self.0[page + 11]]));
        let mut entries = Vec::new();
        for element in (0..count).map(|index| page + HEADER + 16 * index) {
            if branch {
                entries.extend(self.page(self.long(element + 8)));
                continue;
            }
            let [flags, position, key, value] = [0, 4, 8, 12].map(|at| self.word(element + at));
            let start = element + position + key;
            let name = String::from_utf8(self.0[start - key..start].to_vec()).unwrap();
            let found = match flags {
                0 => Found::Value(&self.0[start..start + value]),
                // A small bucket stands within its parent, behind its own header of 16 bytes.
                _ if self.long(start) == 0 => Found::Bucket(self.entries(start + 16)),
                _ => Found::Bucket(self.page(self.long(start))),
            };
            entries.push((name, found));
        }
        entries
    }

    fn word(&self, at: usize) -> usize {
        u32::from_le_bytes(self.0[at..at + 4].try_into().unwrap()).try_into().unwrap()
    }

    fn long(&self, at: usize) -> usize {
        u64::from_le_bytes(self.0[at..at + 8].try_into().unwrap()).try_into().unwrap()
    }
}

#[cfg(feature = "engine-tests")]
pub(crate) enum Found<'a> {
    Value(&'a [u8]),
    Bucket(Vec<(String, Found<'a>)>),
}
