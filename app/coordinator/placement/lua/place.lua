-- place: reserve the best worker for each job of a run: jobs that demand the same, in their order.
-- The lease that it writes is the reservation; the worker's score rises at once, in all its sets.
-- KEYS  1 load zset   2 turn counter
-- ARGV  1 prefix of the lease hashes   2 prefix of the worker hashes   3 prefix of the eligible zsets
--       4 the run as JSON (place.py):
--         jobs      [[job, attempt], …]
--         needs     [{slots, cards, least_mb, vram_mb, sets}, …]: what a job takes of some workers (slots, whole cards,
--                   MiB free on a card, MiB to reserve), and the zsets [[name, offset], …] of these workers; an offset
--                   is added to the scores of its zset
--         excluded  [worker, …]   look_at  how many workers to look at beyond these
--         least_mb, vram_mb       of the jobs themselves; the larger counts
--         order     by which these zsets are ordered: load or turn
-- returns JSON, for each job one of
--   'full'           nobody has room, which is then true of the jobs behind it too
--   'older attempt'  who has room may still have an older attempt of this very job
--   {worker, gpus, vram_mb, whole, slots, score, queued, load, runners_up}: score and load as they were when it was
--                    chosen; queued: it is a mere place behind the slots, for which nothing is added to this score;
--                    runners_up [{worker, score, queued}, …]: the next best of those that were read, at most three
-- It finds workers in the zsets and makes their keys from the prefixes: one Redis, not Redis Cluster.
local LOAD, TURN = KEYS[1], KEYS[2]
local LEASES, WORKERS, ELIGIBLE = ARGV[1], ARGV[2], ARGV[3]
local RUNNERS_UP = 3
local FURTHER = 512 -- workers that are looked at in one call for jobs that ask for more memory than their sets do

local run = cjson.decode(ARGV[4])
local sources = {} -- each zset with its need
local further = 0
for _, need in ipairs(run.needs) do
  for _, set in ipairs(need.sets) do sources[#sources + 1] = {name = set[1], offset = set[2], need = need} end
  if run.least_mb > need.least_mb then further = FURTHER end
end

local heads = {} -- the heads of the zsets as far as they were read, while they are what Redis has
local turn -- of the latest of these jobs; the counter moves once for all of them
local looked = 0 -- at so many workers in this call

local function head(name, count)
  local found = heads[name]
  if not found or found.count < count then
    found = redis.call('ZRANGE', ELIGIBLE .. name, 0, count - 1, 'WITHSCORES')
    found.count, heads[name] = count, found
  end
  return found
end

-- A score as text, exact to the last bit, without what is added for a place behind the slots; and whether it was.
local function told(score)
  local queued = score >= QUEUED[run.order]
  return string.format('%.17g', queued and score - QUEUED[run.order] or score), queued
end

local function forget_heads(room)
  for _, set in ipairs(room.sets) do heads[set[1]] = nil end
end

local function stands_in(room, name)
  for _, set in ipairs(room.sets) do
    if set[1] == name then return true end
  end
  return false
end

-- An older attempt of the same job whose processes may be left keeps its lease: the new one goes elsewhere, or waits.
local function has_older_attempt(leases, job)
  for i = 1, #leases, 2 do
    if leases[i] == job then return cjson.decode(leases[i + 1]).state ~= 'ended' end
  end
  return false
end

local function reserve(worker, job, attempt, need, vram_mb, room, held, uuids)
  local whole = need.cards > 0
  local lease = {attempt = attempt, state = 'given', slots = need.slots, vram_mb = vram_mb, incarnation = room.incarnation}
  if #uuids > 0 then lease.gpus = uuids end -- cjson would write an empty list as {}
  if whole then lease.whole = true end
  redis.call('HSET', LEASES .. worker, job, cjson.encode(lease))
  turn = (turn or redis.call('INCRBY', TURN, #run.jobs) - #run.jobs) + 1
  room.turn = turn
  local taken = held.cards
  if whole or vram_mb > 0 then
    for _, uuid in ipairs(uuids) do taken[uuid] = {mb = (taken[uuid] and taken[uuid].mb or 0) + vram_mb, whole = whole} end
  end
  held.slots, held.wide = held.slots + need.slots, held.wide or need.slots > 1
  settle(worker, room, WORKERS .. worker, LOAD, ELIGIBLE, held)
  forget_heads(room)
end

-- Reserves this worker if it has room. Returns the answer, or nil and whether an older attempt is in the way.
local function give(worker, score, source, job, attempt)
  looked = looked + 1
  local room, need = room_of(WORKERS .. worker), source.need
  if not room or not stands_in(room, source.name) then -- a stale leader's entry
    redis.call('ZREM', ELIGIBLE .. source.name, worker)
    heads[source.name] = nil
    return nil, false
  end
  local leases = redis.call('HGETALL', LEASES .. worker)
  if has_older_attempt(leases, job) then return nil, true end
  local held = holdings(leases)
  local uuids = fits_slots(room, held, need.slots)
    and cards_for(room, held.cards, need.cards, math.max(need.least_mb, run.least_mb))
  if not uuids then
    if run.least_mb <= need.least_mb then -- it stands in the set and has no room: put it right
      settle(worker, room, WORKERS .. worker, LOAD, ELIGIBLE, held)
      forget_heads(room)
    end
    return nil, false
  end
  local vram_mb = need.cards > 0 and 0 or math.max(need.vram_mb, run.vram_mb)
  reserve(worker, job, attempt, need, vram_mb, room, held, uuids)
  local shown, queued = told(score)
  return {
    worker = worker, gpus = uuids, vram_mb = vram_mb, whole = need.cards > 0, slots = need.slots,
    score = shown, queued = queued, load = room.parts, runners_up = {},
  }
end

-- The best of the heads from these places on: worker, score, and which source it stands in.
local function nearest(lists, places)
  local best, lowest
  for i, source in ipairs(sources) do
    local score = lists[i][places[i] + 1]
    if score then
      score = tonumber(score) + source.offset
      if not best or score < lowest then best, lowest = i, score end
    end
  end
  if not best then return nil end
  places[best] = places[best] + 2
  return lists[best][places[best] - 2], lowest, sources[best]
end

-- Examines up to `count` workers, `each` of a zset at most. Returns the answer, whether there are more to look at, and
-- whether an older attempt was in the way.
local function choose(job, attempt, passed, each, count)
  local answer, more, older, lists, places = nil, false, false, {}, {}
  for i, source in ipairs(sources) do
    lists[i], places[i] = head(source.name, each), 1
    more = more or #lists[i] >= 2 * each
  end
  for _ = 1, count do
    local worker, score, source = nearest(lists, places)
    if not worker then break end
    if answer and not passed[worker] then
      local shown, queued = told(score)
      table.insert(answer.runners_up, {worker = worker, score = shown, queued = queued})
      if #answer.runners_up == RUNNERS_UP then break end
    elseif not passed[worker] then
      passed[worker] = true
      local in_the_way
      answer, in_the_way = give(worker, score, source, job, attempt)
      older = older or in_the_way
    end
  end
  for i, list in ipairs(lists) do more = more or places[i] <= #list end
  return answer, more, older
end

local function place(job, attempt)
  local passed = {} -- not for this job, or looked at before
  for _, worker in ipairs(run.excluded) do passed[worker] = true end
  local few = math.ceil((1 + RUNNERS_UP) / math.max(1, #sources))
  local answer, more, older = choose(job, attempt, passed, few, 1 + RUNNERS_UP)
  if not answer and more then
    local many, in_the_way = #run.excluded + run.look_at + math.max(0, further - looked)
    answer, more, in_the_way = choose(job, attempt, passed, many, many)
    older = older or in_the_way
  end
  return answer or older and 'older attempt' or 'full'
end

local answers, full = {}, false
for i, job in ipairs(run.jobs) do
  answers[i] = full and 'full' or place(job[1], job[2])
  full = answers[i] == 'full'
end
return cjson.encode(answers)
