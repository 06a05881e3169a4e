-- place: reserve the best worker for each of n jobs of one class.
-- The lease that it writes is the reservation; the worker's score rises at once, in all its sets.
-- KEYS  1 load zset   2 turn counter
-- ARGV  1 prefix of the lease hashes   2 prefix of the worker hashes   3 prefix of the eligible zsets
--       4 how many workers to look at beyond the excluded ones
--       5 JSON {order, demands, wants}. A demand is the zsets to choose from, each with what it adds to their scores
--         and what a job takes there: [[name, offset, slots, cards, least MiB, MiB to reserve], …]
--         A want: [job, attempt, number of its demand from 1, {excluded worker: true}, its own least MiB, its own
--         MiB to reserve]; the larger counts
-- returns for each want {} when nobody has room, else
--   {worker, UUIDs with ',' between, MiB, 1 when the cards are whole, slots, score, load, parts, worker, score, …}:
--   score, load and parts as they were when it was chosen; the runners-up, at most three, follow
-- It finds workers in the zsets and makes their keys from the prefixes: one Redis, not Redis Cluster.
local LOAD, TURN = KEYS[1], KEYS[2]
local LEASES, WORKERS, ELIGIBLE = ARGV[1], ARGV[2], ARGV[3]
local run = cjson.decode(ARGV[5])
local RUNNERS_UP = 3

local heads = {} -- the heads of the zsets, as long as they are what Redis has
local turn -- of the first of these wants; one step of the counter for all of them

local function head(name, count)
  local found = heads[name]
  if not found or found.count < count then
    found = redis.call('ZRANGE', ELIGIBLE .. name, 0, count - 1, 'WITHSCORES')
    found.count, heads[name] = count, found
  end
  return found
end

-- The first so many over all zsets of the demand, best first.
local function candidates(demand, count)
  local found = {}
  for _, part in ipairs(demand) do
    local entries = head(part[1], count)
    for i = 1, math.min(#entries, 2 * count), 2 do
      found[#found + 1] = {worker = entries[i], score = tonumber(entries[i + 1]) + part[2], part = part}
    end
  end
  table.sort(found, function(a, b)
    if a.score == b.score then return a.worker < b.worker end
    return a.score < b.score
  end)
  return found
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
local function occupied(leases, job)
  for i = 1, #leases, 2 do
    if leases[i] == job then return cjson.decode(leases[i + 1]).state ~= 'ended' end
  end
  return false
end

local function reserve(worker, want, part, mb, room, held, taken, uuids)
  local whole = part[4] > 0
  local lease = {attempt = want[2], state = 'given', slots = part[3], vram_mb = mb, incarnation = room.incarnation}
  if #uuids > 0 then lease.gpus = uuids end -- cjson would write an empty list as {}
  if whole then lease.whole = true end
  redis.call('HSET', LEASES .. worker, want[1], cjson.encode(lease))
  turn = (turn or redis.call('INCRBY', TURN, #run.wants) - #run.wants) + 1
  room.turn = turn
  for _, uuid in ipairs((whole or mb > 0) and uuids or {}) do
    taken[uuid] = {mb = (taken[uuid] and taken[uuid].mb or 0) + mb, whole = whole}
  end
  settle(worker, room, WORKERS .. worker, LOAD, ELIGIBLE, held + part[3], taken)
  forget_heads(room)
  return whole and 1 or 0
end

local function give(candidate, want)
  local worker, part = candidate.worker, candidate.part
  local room = room_of(WORKERS .. worker)
  if not room or not stands_in(room, part[1]) then -- a stale leader's entry
    redis.call('ZREM', ELIGIBLE .. part[1], worker)
    heads[part[1]] = nil
    return nil
  end
  local leases = redis.call('HGETALL', LEASES .. worker)
  if occupied(leases, want[1]) then return nil end
  local held, taken = holdings(leases)
  local mb = part[4] > 0 and 0 or math.max(part[6], want[6])
  local least = math.max(part[5], want[5])
  local uuids = held + part[3] <= room.capacity and cards_for(room, taken, part[4], least)
  if not uuids then
    if least == part[5] then -- it stands in the set and has no room: put it right
      settle(worker, room, WORKERS .. worker, LOAD, ELIGIBLE, held, taken)
      forget_heads(room)
    end
    return nil
  end
  local _, load, parts = load_of(room, held, taken)
  local whole = reserve(worker, want, part, mb, room, held, taken, uuids)
  return {worker, table.concat(uuids, ','), mb, whole, part[3], string.format('%.17g', candidate.score), load, parts}
end

local function choose(want, count, tried)
  local excluded, answer = want[4], nil
  for _, candidate in ipairs(candidates(run.demands[want[3]], count)) do
    local worker = candidate.worker
    if answer and not excluded[worker] then
      answer[#answer + 1] = worker
      answer[#answer + 1] = string.format('%.17g', candidate.score)
      if #answer >= 8 + 2 * RUNNERS_UP then break end
    elseif not answer and not excluded[worker] and not tried[worker] then
      tried[worker] = true
      answer = give(candidate, want)
    end
  end
  return answer
end

local answers = {}
for number, want in ipairs(run.wants) do
  local excluded, tried = 0, {}
  for _ in pairs(want[4]) do excluded = excluded + 1 end
  answers[number] = choose(want, 1 + RUNNERS_UP, tried) or choose(want, excluded + tonumber(ARGV[4]), tried) or {}
end
return answers
