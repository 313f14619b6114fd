-- The functions that the questions use, for DuckDB. clickhouse/0004_functions.sql has the same for ClickHouse.

-- A group of fewer spans than this is not shown, because a group of one is a person.
CREATE OR REPLACE TEMP MACRO nat_k() AS 20;
-- The sum of x over the rows where c holds.
CREATE OR REPLACE TEMP MACRO nat_where(x, c) AS coalesce(sum(x) FILTER (WHERE c), 0);
-- A weighted count as a whole number.
CREATE OR REPLACE TEMP MACRO nat_count(n) AS CAST(round(n) AS BIGINT);
-- The share of part in whole, in percent; NULL where whole is empty.
CREATE OR REPLACE TEMP MACRO nat_percent(part, whole) AS round(100.0 * part / nullif(whole, 0), 2);
-- The ends of the Wilson interval of a share at 95 %. squares: the sum of the squared weights of whole. Under sampling
-- whole²/squares is the number of independent attempts that the estimate is worth (Kish); without it, it is whole.
CREATE OR REPLACE TEMP MACRO nat_wilson(p, e, sign) AS
    round(100.0 * (p + 1.9208 / e + sign * 1.96 * sqrt(greatest(p * (1 - p), 0.0) / e + 0.9604 / (e * e))) / (1 + 3.8416 / e), 2);
CREATE OR REPLACE TEMP MACRO nat_low(part, whole, squares) AS
    nat_wilson(1.0 * part / nullif(whole, 0), 1.0 * whole * whole / nullif(squares, 0), -1.0);
CREATE OR REPLACE TEMP MACRO nat_high(part, whole, squares) AS
    nat_wilson(1.0 * part / nullif(whole, 0), 1.0 * whole * whole / nullif(squares, 0), 1.0);
