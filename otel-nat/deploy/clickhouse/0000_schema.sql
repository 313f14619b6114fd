-- The files of this folder that were applied, each with the hash of its text. apply.py reads and writes it.
CREATE TABLE IF NOT EXISTS nat_schema (
    file String,
    hash String,
    applied DateTime DEFAULT now()
)
ENGINE = MergeTree
ORDER BY file;
