//! Mends what a verification found: sets damaged files aside, notes losses, makes views and lists anew. It computes
//! no results; the next run does, for exactly what was lost.

use std::collections::BTreeSet;

use super::{Digest, Error, Finding, Mending, Owner, Report, Store, Wrong};

/// What was mended.
#[derive(Debug)]
pub struct Repaired {
    /// The stages whose results were lost: the next run of them computes again.
    pub again: BTreeSet<Owner>,
    /// How many results were lost, those that no run names among them.
    pub lost: usize,
}

impl Store {
    /// Mends what a verification found. Nobody looks anything up meanwhile.
    ///
    /// # Errors
    /// If the store cannot be written.
    pub fn repair(&self, report: &Report) -> Result<Repaired, Error> {
        let _alone = self.keep_from_looking()?;
        let mut lost: BTreeSet<Digest> = BTreeSet::new();
        let mut again = BTreeSet::new();
        for finding in &report.findings {
            if self.is_mended_already(finding) {
                continue;
            }
            match &finding.mending {
                Mending::SetAside(path) => self.set_aside(path)?,
                Mending::Remake(artifact) => {
                    let view = self.view_path(artifact);
                    if self.wrong_links(artifact).is_empty() {
                        continue;
                    }
                    if view.symlink_metadata().is_ok() {
                        self.set_aside(view.strip_prefix(&self.root).unwrap_or(&view))?;
                    }
                    self.make_view(artifact)?;
                }
                Mending::Note | Mending::Relist | Mending::Forget => {}
            }
            lost.extend(&finding.lost);
            if !finding.lost.is_empty() {
                again.extend(finding.owners.iter().cloned());
            }
        }
        self.forget_lost_logs()?;
        for key in &lost {
            self.mark_lost(key)?;
        }
        let listed = |finding: &Finding| {
            matches!(finding.mending, Mending::Relist | Mending::Forget)
                || ["runs", "seen", "trash"].iter().any(|folder| finding.file.starts_with(folder))
        };
        if report.findings.iter().any(listed) {
            self.renew_index()?;
            self.renew_manifests()?;
        }
        Ok(Repaired { again, lost: lost.len() })
    }

    /// A result whose log is lost goes without.
    fn forget_lost_logs(&self) -> Result<(), Error> {
        for mut record in self.records()? {
            if record.log.is_some_and(|log| !self.blob_path(&log.digest).exists()) {
                record.log = None;
                self.write_record(&record)?;
            }
        }
        Ok(())
    }

    /// Whether a run has put the right file into its place since it was found wrong.
    fn is_mended_already(&self, finding: &Finding) -> bool {
        let path = self.root.join(&finding.file);
        let named = finding.file.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if finding.file.starts_with("blobs") {
            return named.parse().is_ok_and(|digest| super::verify::wrong_bytes(&path, &digest).is_none());
        }
        let key = named.strip_suffix(".json").and_then(|digits| digits.parse().ok());
        finding.file.starts_with("records")
            && matches!(finding.wrong, Wrong::Changed | Wrong::Missing)
            && key.is_some_and(|key| self.record(&key).is_some())
    }
}
