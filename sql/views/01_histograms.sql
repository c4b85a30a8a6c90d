-- Histograms of spans of time: elements of (bucket << 24 | count), by bucket. Bucket b
-- holds [2^((b-20)/4), 2^((b-19)/4)) seconds; the first also all below, the last all above.

create or replace function report.histogram_pack(state int[]) returns int[]
language sql immutable parallel safe
begin atomic
    select coalesce(array_agg(((x.bucket << 24) | least(x.n, 16777215))::int order by x.bucket), '{}')
      from (select e >> 24 as bucket, sum(e & 16777215) as n from unnest(state) e group by 1) x
     where x.n > 0;
end;
comment on function report.histogram_pack(int[]) is
    'A histogram with each bucket once and in order; counts of equal buckets are added. The last step of histogram_sum.';

-- Strict: a null histogram adds nothing. Packs from time to time, so that a sum of
-- many copies little at each step.
create or replace function report.histogram_add(state int[], histogram int[]) returns int[]
language plpgsql immutable parallel safe strict
as $$
begin
    if cardinality(state) > 1024 then
        return report.histogram_pack(state || histogram);
    end if;
    return state || histogram;
end $$;
comment on function report.histogram_add(int[], int[]) is 'The step of histogram_sum.';

create or replace aggregate report.histogram_sum(histogram int[]) (
    sfunc = report.histogram_add,
    stype = int[],
    initcond = '{}',
    finalfunc = report.histogram_pack,
    combinefunc = report.histogram_add,
    parallel = safe
);
comment on aggregate report.histogram_sum(int[]) is
    'Adds histograms of spans, such as build_days.span_histogram. At most 16,777,215 are counted in a bucket.';

create or replace function report.histogram_percentile(histogram int[], fraction double precision)
returns double precision
language plpgsql immutable parallel safe strict
as $$
declare
    v_total bigint := 0;
    v_before double precision := 0;
    v_target double precision;
    v_part double precision;
    v_bucket int;
    e int;
begin
    foreach e in array histogram loop
        v_total := v_total + (e & 16777215);
    end loop;
    if v_total = 0 or fraction = 'NaN' then
        return null;
    end if;
    v_target := greatest(0, least(1, fraction)) * v_total;
    foreach e in array histogram loop
        if (e & 16777215) > 0 then
            v_bucket := e >> 24;
            v_part := (v_target - v_before) / (e & 16777215);
            exit when v_part <= 1;
            v_before := v_before + (e & 16777215);
        end if;
    end loop;
    v_part := least(1, v_part);
    if v_bucket = 127 then
        return power(2, 107 / 4.0::double precision);
    elsif v_bucket = 0 then
        return v_part * power(2, -19 / 4.0::double precision);
    end if;
    return power(2, (v_bucket - 20 + v_part) / 4);
end $$;
comment on function report.histogram_percentile(int[], double precision) is
    'The span in seconds below which this fraction (0.5: the median, 0.95) of a histogram lies; null of an empty one. Right to within a bucket, four of which double the span: at most 19 % off.';
