//! Replication commands.

use tapster_protocol::testing::{Cluster, servers};
use tapster_protocol::{CreateSlot, QueryError, SlotName, SystemId};
use walfile::{SegmentSize, Timeline};

#[test]
fn identity_is_what_sql_says() {
    for binaries in servers() {
        let cluster = Cluster::builder().binaries(&binaries).wal_segment_mb(1).start().unwrap();
        let mut connection = cluster.replication();
        let identity = connection.identify_system().unwrap();
        let system_id: SystemId =
            cluster.value("SELECT system_identifier FROM pg_control_system()").parse().unwrap();
        assert_eq!(identity.system_id, system_id);
        assert_eq!(identity.timeline, Timeline::FIRST);
        assert_eq!(identity.database, None);
        assert_eq!(connection.wal_segment_size().unwrap(), SegmentSize::MIN);
        assert!(matches!(connection.show("a b"), Err(QueryError::Answer { .. })));
        assert!(connection.show("no.such").is_err());
        assert!(connection.timeline_history(Timeline::new(7).unwrap()).unwrap_err().server().is_some());
    }
}

#[test]
fn slots_live_and_die() {
    for binaries in servers() {
        let cluster = Cluster::builder().binaries(&binaries).start().unwrap();
        let mut connection = cluster.replication();
        let mut sql = cluster.connect();
        let name = SlotName::new("one").unwrap();
        assert_eq!(sql.read_slot(&name).unwrap(), None);
        connection.create_physical_slot(&name, &CreateSlot::default().with_reserve_wal(true)).unwrap();
        let state = sql.read_slot(&name).unwrap().unwrap();
        assert_eq!(state.active, Some(false));
        assert!(state.restart_lsn.is_some());
        if binaries.major >= 15 {
            let state = connection.read_slot(&name).unwrap().unwrap();
            assert_eq!(state.restart_timeline, Some(Timeline::FIRST));
            assert_eq!(connection.read_slot(&SlotName::new("two").unwrap()).unwrap(), None);
        } else {
            assert!(matches!(connection.read_slot(&name), Err(QueryError::Version { .. })));
        }
        let twice = connection.create_physical_slot(&name, &CreateSlot::default()).unwrap_err();
        assert!(twice.is_sqlstate("42710"), "{twice}");
        connection.drop_slot(&name).unwrap();
        assert!(connection.drop_slot(&name).unwrap_err().is_sqlstate("42704"));

        let lazy = CreateSlot::default().with_temporary(true);
        connection.create_physical_slot(&name, &lazy).unwrap();
        assert_eq!(sql.read_slot(&name).unwrap().unwrap().restart_lsn, None);
        drop(connection);
        let mut left = 100;
        while sql.read_slot(&name).unwrap().is_some() {
            left -= 1;
            assert!(left > 0, "a temporary slot must go with its session");
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
    }
}
