//! The tables of a CQL database, as numbered migrations.

/// One step from a version of the schema to the next.
#[derive(Clone, Copy, Debug)]
pub struct Migration {
    /// The version that it leads to; the first is 1 and none is left out.
    pub version: u32,
    /// What it does, in a word or two.
    pub name: &'static str,
    /// For every server.
    pub portable: &'static str,
    /// For ScyllaDB, after that. `{tombstone_gc}` stands for the option's value.
    pub scylladb: &'static str,
}

/// All migrations, in order. One that was released is never changed: the next one changes it.
pub const MIGRATIONS: [Migration; 3] = [
    Migration {
        version: 1,
        name: "tables",
        portable: include_str!("../cql/portable/001_tables.cql"),
        scylladb: include_str!("../cql/scylladb/001_options.cql"),
    },
    Migration {
        version: 2,
        name: "receipts",
        portable: include_str!("../cql/portable/002_receipts.cql"),
        scylladb: "",
    },
    Migration {
        version: 3,
        name: "documents",
        portable: include_str!("../cql/portable/003_documents.cql"),
        scylladb: "",
    },
];

/// The version that this release works with.
pub const VERSION: u32 = MIGRATIONS[MIGRATIONS.len() - 1].version;

/// The statements of a file: comments are left out, each statement ends with a semicolon.
pub fn statements(text: &str) -> Vec<String> {
    let is_code = |line: &&str| !line.trim_start().starts_with("--");
    let code: Vec<&str> = text.lines().filter(is_code).collect();
    let statements = code.join("\n");
    let statements = statements.split(';').map(str::trim);
    statements.filter(|statement| !statement.is_empty()).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn migrations_are_numbered_from_one_without_a_gap() {
        assert!((1..).zip(MIGRATIONS).all(|(n, migration)| migration.version == n));
    }

    #[test]
    fn every_statement_is_whole_and_can_be_repeated() {
        for migration in MIGRATIONS {
            for statement in statements(migration.portable) {
                assert!(statement.starts_with("CREATE TABLE IF NOT EXISTS"), "{statement}");
                assert_eq!(statement.matches('(').count(), statement.matches(')').count());
            }
            let tables = statements(migration.portable).join("\n");
            for statement in statements(migration.scylladb) {
                let table = statement.strip_prefix("ALTER TABLE ").unwrap().split(' ').next();
                assert!(tables.contains(&format!("EXISTS {} (", table.unwrap())), "{statement}");
            }
        }
    }

    #[test]
    fn comments_may_hold_semicolons_and_the_last_statement_needs_none() {
        assert_eq!(statements("-- a; b\nC;\n\n  -- d\nE\nF"), ["C", "E\nF"]);
    }
}
