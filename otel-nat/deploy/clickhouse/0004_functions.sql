-- The functions that the questions use, for ClickHouse. duckdb/functions.sql has the same for DuckDB.

-- A group of fewer spans than this is not shown, because a group of one is a person.
CREATE OR REPLACE FUNCTION nat_k AS () -> 20;
-- The sum of x over the rows where c holds.
CREATE OR REPLACE FUNCTION nat_where AS (x, c) -> sumIf(x, c);
-- A weighted count as a whole number.
CREATE OR REPLACE FUNCTION nat_count AS (n) -> CAST(round(n) AS Int64);
-- The share of part in whole, in percent; NULL where whole is empty.
CREATE OR REPLACE FUNCTION nat_percent AS (part, whole) -> round(100. * part / nullIf(whole, 0), 2);
-- The ends of the Wilson interval of a share at 95 %. squares: the sum of the squared weights of whole. Under sampling
-- whole²/squares is the number of independent attempts that the estimate is worth (Kish); without it, it is whole.
CREATE OR REPLACE FUNCTION nat_wilson AS (p, e, sign) ->
    round(100. * (p + 1.9208 / e + sign * 1.96 * sqrt(greatest(p * (1 - p), 0.) / e + 0.9604 / (e * e))) / (1 + 3.8416 / e), 2);
CREATE OR REPLACE FUNCTION nat_low AS (part, whole, squares) ->
    nat_wilson(1. * part / nullIf(whole, 0), 1. * whole * whole / nullIf(squares, 0), -1.);
CREATE OR REPLACE FUNCTION nat_high AS (part, whole, squares) ->
    nat_wilson(1. * part / nullIf(whole, 0), 1. * whole * whole / nullIf(squares, 0), 1.);
