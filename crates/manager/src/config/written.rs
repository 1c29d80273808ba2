//! What the files say, before anything is made of it.

use std::path::Path;
use std::sync::Arc;

use super::load::Config;
use super::resolve::{Resolved, Source};
use super::value::Value;

impl Config {
    /// Everything in `[barman]` as it is written, quotes and all, with the lock directory, its cleanup and the queue of changes
    /// as they are in force; sorted by key.
    pub fn global_settings(&self) -> Vec<(String, Resolved)> {
        let source = |key: &str| self.source_in("barman", key).unwrap_or(Source::Default);
        let mut settings: Vec<(String, Resolved)> = Vec::new();
        let mut put = |key: &str, value: Value| {
            settings.retain(|(known, _)| known != key);
            settings.push((key.to_owned(), Resolved { value, source: source(key) }));
        };
        let barman = self.merged.section("barman");
        for (section, option) in
            barman.iter().flat_map(|section| section.options.iter().map(|o| (*section, o)))
        {
            let text = section.expand(option).unwrap_or_else(|_| option.value.clone());
            put(&option.key, Value::Text(text));
        }
        let path = |path: &Path| Value::Text(path.to_string_lossy().into_owned());
        put("barman_lock_directory", path(&self.global.barman_lock_directory));
        put("config_changes_queue", path(&self.global.config_changes_queue));
        put("lock_directory_cleanup", Value::Bool(self.global.lock_directory_cleanup));
        settings.sort_by(|a, b| a.0.cmp(&b.0));
        settings
    }

    /// The file that sets an option of a section last; `None` when none does.
    pub fn source_in(&self, section: &str, key: &str) -> Option<Source> {
        let option = self.merged.section(section)?.get(key)?;
        Some(Source::File(Arc::clone(&option.source)))
    }

    /// The text of an option of a section, expanded and without quotes, whether or not it can be used.
    pub fn text_in(&self, section: &str, key: &str) -> Option<String> {
        let section = self.merged.section(section)?;
        section.read(section.get(key)?).ok().flatten()
    }
}
