-- Of the slots that were made: those with one final outcome, without one, with more than one
-- success; runs of one sync that overlapped; runs that say they are running.
WITH outcomes AS (
    SELECT made.sync, made.slot,
           (SELECT run.state NOT IN ('queued', 'running')
              FROM syncs_syncrun AS run
             WHERE run.sync = made.sync AND run.slot = made.slot
             ORDER BY run.attempt DESC LIMIT 1) AS final,
           (SELECT count(*)
              FROM syncs_syncrun AS run JOIN syncs_runlog AS log ON log.run_id = run.id
             WHERE run.sync = made.sync AND run.slot = made.slot AND log.message = 'published'
           ) AS published
      FROM made_slots AS made
)
SELECT count(*),
       count(*) FILTER (WHERE final),
       count(*) FILTER (WHERE final IS NOT TRUE),
       count(*) FILTER (WHERE published > 1),
       (SELECT count(*)
          FROM syncs_syncrun AS one JOIN syncs_syncrun AS other
            ON other.sync = one.sync AND other.id > one.id
         WHERE one.started_at < coalesce(other.finished_at, 'infinity')
           AND other.started_at < coalesce(one.finished_at, 'infinity')),
       (SELECT count(*) FROM syncs_syncrun WHERE state = 'running')
  FROM outcomes
