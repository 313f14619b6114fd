-- Generated from the file of this name in the folder above, by generate.py.
-- The functions that the questions use, for ClickHouse. duckdb/functions.sql has the same for DuckDB.

-- A group of fewer spans than this is not shown, because a group of one is a person.
CREATE OR REPLACE FUNCTION nat_k ON CLUSTER '{cluster}' AS () -> 20;
-- The sum of x over the rows where c holds.
CREATE OR REPLACE FUNCTION nat_where ON CLUSTER '{cluster}' AS (x, c) -> sumIf(x, c);
-- A weighted count as a whole number.
CREATE OR REPLACE FUNCTION nat_count ON CLUSTER '{cluster}' AS (n) -> CAST(round(n) AS Int64);
-- The share of part in whole, in percent; NULL where whole is empty.
CREATE OR REPLACE FUNCTION nat_percent ON CLUSTER '{cluster}' AS (part, whole) -> round(100. * part / nullIf(whole, 0), 2);
-- The ends of the Wilson interval of a share at 95 %. squares: the sum of the squared weights of whole. Under sampling
-- whole²/squares is the number of independent attempts that the estimate is worth (Kish); without it, it is whole.
CREATE OR REPLACE FUNCTION nat_wilson ON CLUSTER '{cluster}' AS (p, e, sign) ->
    round(100. * (p + 1.9208 / e + sign * 1.96 * sqrt(greatest(p * (1 - p), 0.) / e + 0.9604 / (e * e))) / (1 + 3.8416 / e), 2);
CREATE OR REPLACE FUNCTION nat_low ON CLUSTER '{cluster}' AS (part, whole, squares) ->
    nat_wilson(1. * part / nullIf(whole, 0), 1. * whole * whole / nullIf(squares, 0), -1.);
CREATE OR REPLACE FUNCTION nat_high ON CLUSTER '{cluster}' AS (part, whole, squares) ->
    nat_wilson(1. * part / nullIf(whole, 0), 1. * whole * whole / nullIf(squares, 0), 1.);
