//! The slot: it makes the server keep the WAL that was not received yet.

use tapster_protocol::{CreateSlot, SlotName, SlotNameError};

use super::ReceiveWalError;
use super::synchronous::names_standby;
use crate::event::Event;
use crate::remote::Remote;
use crate::{Context, Server};

/// What [`Server::create_slot`] found.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum SlotCreated {
    /// It is there now.
    Created,
    /// It was there before.
    Exists,
}

/// What [`Server::drop_slot`] found.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum SlotDropped {
    /// It is gone.
    Dropped,
    /// There was none.
    Missing,
    /// Somebody uses it.
    InUse,
}

impl Server {
    /// The configured slot.
    ///
    /// # Errors
    /// When the configured name cannot be a slot's.
    pub fn slot_name(&self) -> Result<Option<SlotName>, SlotNameError> {
        self.config.slot_name.as_deref().map(SlotName::new).transpose()
    }

    /// Looks at the server over a normal connection; makes the slot when it is to be made. Returns whether the server
    /// waits for us as a synchronous standby.
    pub(super) fn prepare_server(
        &self,
        slot: Option<&SlotName>,
        application: &str,
        context: &Context<'_>,
    ) -> Result<bool, ReceiveWalError> {
        let mut connection = self.connect_wal_host(context.stop.clone())?;
        let mut remote = Remote::new(&mut connection);
        if remote.show("wal_level")? == "minimal" {
            return Err(ReceiveWalError::WalLevel { server: self.name().to_owned() });
        }
        let synchronous = names_standby(&remote.show("synchronous_standby_names")?, application);
        let Some(slot) = slot else { return Ok(synchronous) };
        match remote.slot(slot.as_str())? {
            Some(status) if status.active => {
                return Err(ReceiveWalError::SlotActive { slot: slot.to_string() });
            }
            // Before PostgreSQL 16 a slot that lost WAL keeps it again as soon as it is used.
            Some(status) if status.is_lost() && connection.server_version().major() >= 16 => {
                self.replace_slot(slot, context)?;
            }
            Some(_) => {}
            None if self.config.create_slot_auto => {
                self.create_slot(context)?;
            }
            None => {
                return Err(ReceiveWalError::SlotMissing {
                    slot: slot.to_string(),
                    server: self.name().to_owned(),
                });
            }
        }
        Ok(synchronous)
    }

    /// A slot that lost WAL keeps none any more; another one in its place does. Whether WAL that is needed is gone, the
    /// stream will tell.
    fn replace_slot(&self, slot: &SlotName, context: &Context<'_>) -> Result<(), ReceiveWalError> {
        if !self.config.create_slot_auto {
            return Err(ReceiveWalError::SlotLost { slot: slot.to_string() });
        }
        self.drop_slot(context)?;
        self.create_slot(context)?;
        context.tell(Event::Warning(format!(
            "replication slot '{slot}' had lost WAL it was to keep (max_slot_wal_keep_size); it was dropped and created again"
        )));
        Ok(())
    }

    /// Creates the configured slot; it keeps WAL from now on.
    ///
    /// # Errors
    /// When the server cannot be reached or refuses.
    pub fn create_slot(&self, context: &Context<'_>) -> Result<SlotCreated, ReceiveWalError> {
        let Some(slot) = self.slot_name()? else { return Err(self.no_slot()) };
        let mut connection =
            self.connect_wal_streaming(&self.config.streaming_archiver_name, context.stop.clone())?;
        match connection.create_physical_slot(&slot, &CreateSlot::default().with_reserve_wal(true)) {
            Ok(()) => Ok(SlotCreated::Created),
            Err(error) if error.is_sqlstate("42710") => Ok(SlotCreated::Exists),
            Err(error) => Err(error.into()),
        }
    }

    /// Drops the configured slot.
    ///
    /// # Errors
    /// When the server cannot be reached or refuses.
    pub fn drop_slot(&self, context: &Context<'_>) -> Result<SlotDropped, ReceiveWalError> {
        let Some(slot) = self.slot_name()? else { return Err(self.no_slot()) };
        let mut connection =
            self.connect_wal_streaming(&self.config.streaming_archiver_name, context.stop.clone())?;
        match connection.drop_slot(&slot) {
            Ok(()) => Ok(SlotDropped::Dropped),
            Err(error) if error.is_sqlstate("42704") => Ok(SlotDropped::Missing),
            Err(error) if error.is_sqlstate("55006") => Ok(SlotDropped::InUse),
            Err(error) => Err(error.into()),
        }
    }

    fn no_slot(&self) -> ReceiveWalError {
        ReceiveWalError::SlotMissing { slot: String::new(), server: self.name().to_owned() }
    }
}
