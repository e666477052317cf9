-- Drops a marker file into the spool whenever a study or a series has become stable in Orthanc.
--
-- Orthanc runs its events one after the other in one thread, and while a callback runs, no authenticated HTTP request
-- is answered. So this script writes one small file and does nothing else: no HTTP, no waiting, no looking at tags.
-- A marker names the resource by Orthanc's ID alone; nothing in it identifies a patient.
--
-- The file is written into tmp/ and renamed into incoming/, so that nobody ever reads half a marker. The spool is named
-- by AUTORTHANC_SPOOL_PATH in Orthanc's environment. Written in the common subset of Lua 5.1 to 5.4.

-- Orthanc loads each script twice, into two Lua states, and may restart within a second: the address of a fresh table
-- makes the names in tmp/ differ between states, the counter makes them differ within one.
local state = tostring({}):gsub('[^%w]', '')
local counter = 0

local function complain(what, mend)
  print('autorthanc_spool: ' .. what .. '; ' .. mend ..
    '. The processor finds the study by reconciliation when it runs.')
end

-- A full disk shows only when the buffer is written out, so close() has to be asked as well as write().
local function write_file(path, text)
  local file, reason = io.open(path, 'wb')
  if not file then
    return nil, reason
  end
  local written, write_reason = file:write(text)
  local closed, close_reason = file:close()
  if written and closed then
    return true
  end
  os.remove(path)
  return nil, write_reason or close_reason or 'the file could not be written'
end

local function drop(level, id)
  local spool = os.getenv('AUTORTHANC_SPOOL_PATH')
  if not spool or spool == '' then
    complain('AUTORTHANC_SPOOL_PATH is not set for Orthanc, so no marker was written for ' .. level .. ' ' .. tostring(id),
      'set it to the spool folder in the environment that Orthanc is started with')
    return
  end
  local group = '%x%x%x%x%x%x%x%x'
  if type(id) ~= 'string' or not id:match('^' .. group .. string.rep('%-' .. group, 4) .. '$') then
    complain('the ID of a stable ' .. level .. ' is not one of Orthanc', 'check the version of Orthanc')
    return
  end
  local now = os.time()
  local lower = level:lower()
  local name = os.date('!%Y%m%dT%H%M%SZ', now) .. '-' .. lower .. '-' .. id .. '.json'
  local text = string.format(
    '{"format": 1, "event": "Stable%s", "level": "%s", "id": "%s", "source": "lua", "time": "%s"}\n',
    level, level, id, os.date('!%Y-%m-%dT%H:%M:%SZ', now))
  counter = counter + 1
  local scratch = spool .. '/tmp/.' .. state .. '-' .. counter .. '-' .. name
  local done, reason = write_file(scratch, text)
  if done then
    -- This overwrites a marker of the same name. That is one of the same resource and the same second which nobody has
    -- claimed yet, so both ask for the same.
    done, reason = os.rename(scratch, spool .. '/incoming/' .. name)
    if not done then
      os.remove(scratch)
    end
  end
  if not done then
    complain('no marker could be written for ' .. lower .. ' ' .. id .. ': ' .. tostring(reason),
      'see that ' .. spool .. ' has the folders tmp and incoming, on one file system, writable for Orthanc, with free space')
  end
end

-- Orthanc survives an error that is a string; any other error value would end its process. Nothing may get out of here.
local function guarded(what, call, ...)
  local ok, reason = pcall(call, ...)
  if not ok then
    pcall(print, 'autorthanc_spool: ' .. what .. ' failed: ' ..
      (type(reason) == 'string' and reason or 'with an error that is a ' .. type(reason)))
  end
end

-- A callback of the same name in a script that was loaded before would be silenced without a word. It is called after
-- our marker is written, whatever it does.
local earlier_study = OnStableStudy
local earlier_series = OnStableSeries

function OnStableStudy(id, tags, metadata)
  guarded('writing the marker of a study', drop, 'Study', id)
  if earlier_study then
    guarded('the earlier OnStableStudy', earlier_study, id, tags, metadata)
  end
end

function OnStableSeries(id, tags, metadata)
  guarded('writing the marker of a series', drop, 'Series', id)
  if earlier_series then
    guarded('the earlier OnStableSeries', earlier_series, id, tags, metadata)
  end
end
