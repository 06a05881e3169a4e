-- place: reserve the least loaded fitting worker for each of n jobs of one class.
-- The lease that it writes is the reservation; the worker's score rises at once, in all its sets.
-- KEYS  1 eligible zset of the class   2 load zset
-- ARGV  1 prefix of the lease hashes   2 prefix of the worker hashes   3 prefix of the eligible zsets
--       4 the class   5 how many workers to look at beyond the excluded ones
--       6 JSON [{job, attempt, vram_mb (0: what the class needs), gpus (0: not said), excluded {worker: true},
--               above_mb (a card with more free than this; 0: any)}, …]
-- returns for each job two strings: the worker and its GPUs' UUIDs with ',' between; both '' when nobody has room
-- It finds workers in KEYS[1] and makes their keys from the prefixes: one Redis, not Redis Cluster.
local function choose(room, reserved, need, count, above)
  local fitting = {}
  for _, gpu in ipairs(room.gpus) do
    local free = gpu[2] - (reserved[gpu[1]] or 0)
    if (need == 0 or free >= need) and (above == 0 or free > above) then fitting[#fitting + 1] = {gpu[1], free} end
  end
  if ((need > 0 or above > 0) and #fitting == 0) or #fitting < count then return nil end
  if need > 0 then table.sort(fitting, function(a, b) return a[2] > b[2] end) end
  local chosen = {}
  for i = 1, math.min(#fitting, math.max(1, count)) do chosen[i] = fitting[i][1] end
  return chosen
end

-- An older attempt of the same job whose processes may be left keeps its lease: the new one goes elsewhere, or waits.
local function occupied(lease_key, job)
  local text = redis.call('HGET', lease_key, job)
  return text and cjson.decode(text).state ~= 'ended'
end

local function give(worker, want)
  local lease_key = ARGV[1] .. worker
  local room = room_of(ARGV[2] .. worker)
  if not room then
    redis.call('ZREM', KEYS[1], worker)
    return nil
  end
  local held, reserved = holdings(lease_key)
  if held >= room.capacity or occupied(lease_key, want.job) then return nil end
  local need = want.vram_mb > 0 and want.vram_mb or room.classes[ARGV[4]] or 0
  local gpus = choose(room, reserved, need, want.gpus, want.above_mb)
  if not gpus then return nil end
  local lease = {attempt = want.attempt, state = 'given', vram_mb = need, incarnation = room.incarnation}
  if #gpus > 0 then lease.gpus = gpus end -- cjson would write an empty list as {}
  redis.call('HSET', lease_key, want.job, cjson.encode(lease))
  settle(worker, room, lease_key, KEYS[2], ARGV[3])
  return table.concat(gpus, ',')
end

local answers = {}
for _, want in ipairs(cjson.decode(ARGV[6])) do
  local excluded = 0
  for _ in pairs(want.excluded) do excluded = excluded + 1 end
  local worker, gpus = '', ''
  for _, candidate in ipairs(redis.call('ZRANGE', KEYS[1], 0, excluded + tonumber(ARGV[5]) - 1)) do
    local given = not want.excluded[candidate] and give(candidate, want)
    if given then
      worker, gpus = candidate, given
      break
    end
  end
  answers[#answers + 1] = worker
  answers[#answers + 1] = gpus
end
return answers
