-- mark: move an attempt's lease on (given, claimed, revoked, ended), or write it where Redis forgot it.
-- KEYS  1 lease hash   2 worker hash   3 load zset
-- ARGV  1 worker   2 job   3 attempt   4 prefix of the eligible zsets
--       5 JSON of the fields to set: state, and any of nonce, why, grace_s, gpus, vram_mb, whole, slots
-- returns 1, or 0 when a higher attempt stands there or this one is as far already (then nothing changes):
-- so a lease never goes back, whoever comes late
local change = cjson.decode(ARGV[5])
local text = redis.call('HGET', KEYS[1], ARGV[2])
local lease = text and cjson.decode(text)
local attempt = tonumber(ARGV[3])
if lease and (lease.attempt > attempt or
    (lease.attempt == attempt and RANK[lease.state] >= RANK[change.state])) then return 0 end
-- What an open lease holds does not change with its state: no score does.
local same = lease and lease.attempt == attempt and change.state ~= 'ended'
if not lease or lease.attempt < attempt then lease = {attempt = attempt} end
for name, value in pairs(change) do
  same = same and (name == 'state' or name == 'nonce' or name == 'why' or name == 'grace_s')
  lease[name] = value
end
redis.call('HSET', KEYS[1], ARGV[2], cjson.encode(lease))
local room = not same and room_of(KEYS[2])
if room then settle(ARGV[1], room, KEYS[2], KEYS[3], ARGV[4], holdings(redis.call('HGETALL', KEYS[1]))) end
return 1
