//! What a POSIX file system promises, and no more: content that was not synced may be there, missing, short
//! or zeros; directory changes that were not synced may have happened or not, in any combination, except
//! that a rename within a directory is atomic, and one across directories never loses the file.

use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::ffi::OsString;
use std::hash::{Hash as _, Hasher as _};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use super::recorder::Operation;
use super::tree::{CrashState, Entry, Tree};

type NodeId = usize;
type Entries = BTreeMap<OsString, NodeId>;

#[derive(Clone, Debug)]
enum Node {
    Dir { durable: Entries, current: Entries },
    Link(PathBuf),
    File { durable: Vec<u8>, pending: Vec<Change>, mode: u32, modified: Option<SystemTime> },
}

#[derive(Clone, Debug)]
enum Change {
    Write(Option<u64>, Arc<[u8]>),
    SetLen(u64),
    Allocate(u64),
}

/// A directory change that is not durable yet.
#[derive(Clone, Debug)]
struct Pending {
    dir: NodeId,
    edit: Edit,
    /// The change (by serial number) without which this one cannot have happened.
    needs: Option<u64>,
    serial: u64,
}

#[derive(Clone, Debug)]
enum Edit {
    Add(OsString, NodeId),
    Remove(OsString),
    Move(OsString, OsString, NodeId),
}

/// What became of content that was not synced.
#[derive(Clone, Copy, Debug)]
enum Fate {
    Kept,
    Lost,
    Zeros,
    Half,
    OnlyLast,
}

#[derive(Debug)]
pub(super) struct Model {
    nodes: Vec<Node>,
    handles: HashMap<u64, NodeId>,
    pending: Vec<Pending>,
    serial: u64,
    seen: HashSet<u64>,
}

const ROOT: NodeId = 0;

impl Model {
    pub(super) fn new(initial: &Tree) -> Self {
        let root = Node::Dir { durable: Entries::new(), current: Entries::new() };
        let mut model = Self {
            nodes: vec![root],
            handles: HashMap::new(),
            pending: Vec::new(),
            serial: 0,
            seen: HashSet::new(),
        };
        for (path, entry) in &initial.0 {
            let node = match entry.clone() {
                Entry::Dir => Node::Dir { durable: Entries::new(), current: Entries::new() },
                Entry::Link(target) => Node::Link(target),
                Entry::File { bytes, mode, modified } => {
                    Node::File { durable: bytes, pending: Vec::new(), mode, modified }
                }
            };
            let id = model.add(node);
            if let (Ok(dir), Some(name)) = (model.find(parent_in(path)), path.file_name())
                && let Some(Node::Dir { durable, current }) = model.nodes.get_mut(dir)
            {
                durable.insert(name.to_owned(), id);
                current.insert(name.to_owned(), id);
            }
        }
        model
    }

    fn add(&mut self, node: Node) -> NodeId {
        self.nodes.push(node);
        self.nodes.len() - 1
    }

    fn find(&self, path: &Path) -> io::Result<NodeId> {
        let mut at = ROOT;
        for part in path.components() {
            at = match self.nodes.get(at) {
                Some(Node::Dir { current, .. }) => current.get(part.as_os_str()).copied(),
                _ => None,
            }
            .ok_or_else(|| {
                io::Error::other(format!("{} was made behind the recorder's back", path.display()))
            })?;
        }
        Ok(at)
    }

    /// The directory and the name of a path.
    fn place(&self, path: &Path) -> io::Result<(NodeId, OsString)> {
        let dir = self.find(parent_in(path))?;
        let name = path.file_name().ok_or_else(|| io::Error::other("a path without a name"))?;
        Ok((dir, name.to_owned()))
    }

    fn edit(&mut self, dir: NodeId, edit: Edit, needs: Option<u64>) -> u64 {
        if let Some(Node::Dir { current, .. }) = self.nodes.get_mut(dir) {
            apply_edit(current, &edit);
        }
        self.serial += 1;
        self.pending.push(Pending { dir, edit, needs, serial: self.serial });
        self.serial
    }

    fn change(&mut self, handle: u64, change: Change) {
        if let Some(Node::File { pending, .. }) =
            self.handles.get(&handle).and_then(|id| self.nodes.get_mut(*id))
        {
            pending.push(change);
        }
    }

    fn sync_node(&mut self, id: NodeId) {
        if let Some(Node::File { durable, pending, .. }) = self.nodes.get_mut(id) {
            for change in std::mem::take(pending) {
                apply_change(durable, &change, Fate::Kept);
            }
        }
    }

    /// Makes durable what is pending in `dir`, and what that depends on, with everything before it there.
    fn sync_dir(&mut self, dir: NodeId) {
        let needed: Vec<u64> = self.pending.iter().filter(|p| p.dir == dir).filter_map(|p| p.needs).collect();
        let limits: Vec<(NodeId, u64)> =
            self.pending.iter().filter(|p| needed.contains(&p.serial)).map(|p| (p.dir, p.serial)).collect();
        let (done, rest) = std::mem::take(&mut self.pending).into_iter().partition::<Vec<_>, _>(|p| {
            p.dir == dir || limits.iter().any(|(other, serial)| p.dir == *other && p.serial <= *serial)
        });
        self.pending = rest;
        for pending in done {
            if let Some(Node::Dir { durable, .. }) = self.nodes.get_mut(pending.dir) {
                apply_edit(durable, &pending.edit);
            }
        }
    }

    pub(super) fn apply(&mut self, operation: &Operation) -> io::Result<()> {
        match operation {
            Operation::Open { path, handle, created, mode } => {
                let id = if *created {
                    let node =
                        Node::File { durable: Vec::new(), pending: Vec::new(), mode: *mode, modified: None };
                    let id = self.add(node);
                    let (dir, name) = self.place(path)?;
                    self.edit(dir, Edit::Add(name, id), None);
                    id
                } else {
                    self.find(path)?
                };
                self.handles.insert(*handle, id);
            }
            Operation::Write { handle, offset, bytes } => {
                self.change(*handle, Change::Write(*offset, bytes.clone()));
            }
            Operation::SetLen { handle, length } => self.change(*handle, Change::SetLen(*length)),
            Operation::Allocate { handle, length } => self.change(*handle, Change::Allocate(*length)),
            Operation::SetMode { handle, mode: new } => {
                if let Some(Node::File { mode, .. }) =
                    self.handles.get(handle).and_then(|id| self.nodes.get_mut(*id))
                {
                    *mode = *new;
                }
            }
            Operation::SetModified { handle, time } => {
                if let Some(Node::File { modified, .. }) =
                    self.handles.get(handle).and_then(|id| self.nodes.get_mut(*id))
                {
                    *modified = Some(*time);
                }
            }
            Operation::Sync { handle } => {
                if let Some(id) = self.handles.get(handle) {
                    self.sync_node(*id);
                }
            }
            Operation::SyncPath { path } => {
                let id = self.find(path)?;
                self.sync_node(id);
            }
            Operation::Rename { from, to } => {
                let node = self.find(from)?;
                let ((source, old), (target, new)) = (self.place(from)?, self.place(to)?);
                if source == target {
                    self.edit(source, Edit::Move(old, new, node), None);
                } else {
                    let added = self.edit(target, Edit::Add(new, node), None);
                    self.edit(source, Edit::Remove(old), Some(added));
                }
            }
            Operation::Link { from, to } => {
                let node = self.find(from)?;
                let (dir, name) = self.place(to)?;
                self.edit(dir, Edit::Add(name, node), None);
            }
            Operation::Symlink { target, path } => {
                let id = self.add(Node::Link(target.clone()));
                let (dir, name) = self.place(path)?;
                self.edit(dir, Edit::Add(name, id), None);
            }
            Operation::Unlink { path } | Operation::Rmdir { path } => {
                let (dir, name) = self.place(path)?;
                self.edit(dir, Edit::Remove(name), None);
            }
            Operation::Mkdir { path } => {
                let id = self.add(Node::Dir { durable: Entries::new(), current: Entries::new() });
                let (dir, name) = self.place(path)?;
                self.edit(dir, Edit::Add(name, id), None);
            }
            Operation::SyncDir { path } => {
                let id = self.find(path)?;
                self.sync_dir(id);
            }
            Operation::Mark(_) => {}
        }
        Ok(())
    }

    pub(super) fn crash_states(
        &mut self,
        cut: usize,
        marks: &[String],
        visit: &mut dyn FnMut(&CrashState) -> io::Result<()>,
    ) -> io::Result<()> {
        for happened in choices(self.pending.len()) {
            let happened = self.closed(happened);
            for fate in [Fate::Kept, Fate::Lost, Fate::Zeros, Fate::Half, Fate::OnlyLast] {
                let tree = self.tree(&happened, fate);
                let mut hasher = DefaultHasher::new();
                (&tree, marks).hash(&mut hasher);
                if self.seen.insert(hasher.finish()) {
                    let kept = happened.iter().filter(|kept| **kept).count();
                    let fate = format!(
                        "{kept} of {} directory changes kept, unsynced content {fate:?}",
                        happened.len()
                    );
                    visit(&CrashState { cut, marks: marks.to_vec(), fate, tree })?;
                }
            }
        }
        Ok(())
    }

    /// Takes out the changes whose precondition did not happen.
    fn closed(&self, mut happened: Vec<bool>) -> Vec<bool> {
        for index in 0..happened.len() {
            let needs = self.pending.get(index).and_then(|p| p.needs);
            let at = needs.and_then(|serial| self.pending.iter().position(|p| p.serial == serial));
            if at.and_then(|at| happened.get(at)) == Some(&false)
                && let Some(kept) = happened.get_mut(index)
            {
                *kept = false;
            }
        }
        happened
    }

    fn tree(&self, happened: &[bool], fate: Fate) -> Tree {
        let mut edits: HashMap<NodeId, Vec<&Edit>> = HashMap::new();
        for (pending, _) in self.pending.iter().zip(happened).filter(|(_, kept)| **kept) {
            edits.entry(pending.dir).or_default().push(&pending.edit);
        }
        let mut tree = Tree::default();
        let mut stack = vec![(PathBuf::new(), ROOT)];
        while let Some((path, id)) = stack.pop() {
            let entry = match self.nodes.get(id) {
                Some(Node::Dir { durable, .. }) => {
                    let mut entries = durable.clone();
                    for edit in edits.get(&id).into_iter().flatten() {
                        apply_edit(&mut entries, edit);
                    }
                    stack.extend(entries.into_iter().map(|(name, id)| (path.join(name), id)));
                    Entry::Dir
                }
                Some(Node::Link(target)) => Entry::Link(target.clone()),
                Some(Node::File { durable, pending, mode, modified }) => {
                    let bytes = content(durable, pending, fate);
                    Entry::File { bytes, mode: *mode, modified: *modified }
                }
                None => continue,
            };
            if id != ROOT {
                tree.0.insert(path, entry);
            }
        }
        tree
    }
}

/// Which of `count` pending changes happened: all combinations while they are few, else those that find mistakes.
fn choices(count: usize) -> Vec<Vec<bool>> {
    if count <= 4 {
        return (0..1_usize << count).map(|bits| (0..count).map(|i| bits >> i & 1 == 1).collect()).collect();
    }
    let mut all = vec![vec![true; count]];
    for at in 0..count {
        all.push((0..count).map(|i| i < at).collect());
        all.push((0..count).map(|i| i == at).collect());
        all.push((0..count).map(|i| i != at).collect());
    }
    all
}

fn apply_edit(entries: &mut Entries, edit: &Edit) {
    match edit {
        Edit::Add(name, node) => {
            entries.insert(name.clone(), *node);
        }
        Edit::Remove(name) => {
            entries.remove(name);
        }
        Edit::Move(from, to, node) => {
            entries.remove(from);
            entries.insert(to.clone(), *node);
        }
    }
}

fn content(durable: &[u8], pending: &[Change], fate: Fate) -> Vec<u8> {
    let mut bytes = durable.to_vec();
    let chosen = match fate {
        Fate::Lost => &[][..],
        Fate::OnlyLast => pending.get(pending.len().saturating_sub(1)..).unwrap_or_default(),
        _ => pending,
    };
    for (index, change) in chosen.iter().enumerate() {
        let last = index + 1 == chosen.len();
        apply_change(&mut bytes, change, if matches!(fate, Fate::Half) && !last { Fate::Kept } else { fate });
    }
    bytes
}

fn apply_change(bytes: &mut Vec<u8>, change: &Change, fate: Fate) {
    match change {
        Change::Write(offset, data) => {
            let at = offset.map_or(bytes.len(), |offset| usize::try_from(offset).unwrap_or(usize::MAX));
            let data: &[u8] = match fate {
                Fate::Half => data.get(..data.len() / 2).unwrap_or_default(),
                _ => data,
            };
            let end = at.saturating_add(data.len());
            if bytes.len() < end {
                bytes.resize(end, 0);
            }
            if let (Some(place), false) = (bytes.get_mut(at..end), matches!(fate, Fate::Zeros)) {
                place.copy_from_slice(data);
            }
        }
        Change::SetLen(length) => bytes.resize(usize::try_from(*length).unwrap_or(usize::MAX), 0),
        Change::Allocate(length) => {
            let length = usize::try_from(*length).unwrap_or(usize::MAX);
            if bytes.len() < length {
                bytes.resize(length, 0);
            }
        }
    }
}

/// The directory of a path relative to the root; empty for the root itself.
fn parent_in(path: &Path) -> &Path {
    path.parent().unwrap_or(Path::new(""))
}
