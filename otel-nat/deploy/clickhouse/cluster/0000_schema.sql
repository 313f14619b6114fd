-- Generated from the file of this name in the folder above, by generate.py.
-- The files of this folder that were applied, each with the hash of its text. apply.py reads and writes it.
CREATE TABLE IF NOT EXISTS nat_schema ON CLUSTER '{cluster}' (
    file String,
    hash String,
    applied DateTime DEFAULT now()
)
ENGINE = ReplicatedMergeTree('/clickhouse/tables/{database}/{table}', '{shard}-{replica}')
ORDER BY file;
