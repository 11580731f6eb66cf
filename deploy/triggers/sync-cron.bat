@echo off
rem Requests a sync of RAINBO over HTTP and waits for its end. Needs Windows 10 or newer, which has
rem curl.exe. Read by a reviewer, not run in CI. Variables and exit codes are those of sync-cron.sh:
rem   APP_URL, OPERATOR_TOKEN, SYNC or SYNC_PATH, LOG_FILE, DEBUG=1, ATTEMPTS, RETRY_SECONDS,
rem   WAIT_SECONDS; 0 done, 1 failed, 2 can't work as configured, 3 in part, 4 nothing is connected,
rem   75 running.
setlocal EnableExtensions DisableDelayedExpansion

if not defined APP_URL set "APP_URL=http://localhost:8000"
if not defined SYNC set "SYNC=bakalari"
if not defined SYNC_PATH set "SYNC_PATH=/api/sync/%SYNC%"
if not defined LOG_FILE set "LOG_FILE=C:\logs\rainbo\sync-cron.log"
if not defined ATTEMPTS set "ATTEMPTS=3"
if not defined RETRY_SECONDS set "RETRY_SECONDS=10"
if not defined WAIT_SECONDS set "WAIT_SECONDS=600"
set "CALL=%RANDOM%%RANDOM%"
set "WORK=%TEMP%\rainbo-%CALL%"

if not defined OPERATOR_TOKEN (
    echo OPERATOR_TOKEN is not set: manage.py api_token create makes a token 1>&2
    exit /b 2
)
for %%I in ("%LOG_FILE%") do if not exist "%%~dpI" mkdir "%%~dpI"
call :rotate
call :log "start"
if errorlevel 1 (
    echo LOG_FILE %LOG_FILE% can't be written 1>&2
    exit /b 2
)

rem A folder is made by one call alone. One that a crash left is removed by hand.
mkdir "%LOG_FILE%.lock" 2>nul
if errorlevel 1 (
    set "CODE=75"
    call :log "exit=75 another call is running; if none is, remove %LOG_FILE%.lock"
    exit /b 75
)
mkdir "%WORK%"

set "CODE=1"
set "ATTEMPT=1"
:trigger
call :send POST "%APP_URL%%SYNC_PATH%"
if "%STATUS%"=="200" goto judge
if "%STATUS%"=="202" goto poll
call :is_passing
if errorlevel 1 goto rejected
if %ATTEMPT% GEQ %ATTEMPTS% (
    call :log "exit=1 RAINBO answered %STATUS%, at the last of %ATTEMPT% attempts"
    goto end
)
set /a PAUSE=RETRY_SECONDS * ATTEMPT
call :pause
set /a ATTEMPT+=1
goto trigger

:poll
set "ADDRESS="
set /a LEFT=WAIT_SECONDS
:look
if "%STATUS%"=="202" for /f "tokens=1,* delims=: " %%A in ('findstr /i /b /c:"Location:" "%WORK%\head"') do set "ADDRESS=%%B"
if not defined ADDRESS (
    call :log "exit=1 the server named no address to ask at"
    goto end
)
rem The token goes to RAINBO alone: an address of another server doesn't begin with one slash.
if not "%ADDRESS:~0,1%"=="/" goto elsewhere
if "%ADDRESS:~0,2%"=="//" goto elsewhere
if %LEFT% LEQ 0 (
    set "CODE=75"
    call :log "exit=75 the sync still runs: see %APP_URL%%ADDRESS%"
    goto end
)
set "PAUSE=2"
call :pause
set /a LEFT-=2
call :send GET "%APP_URL%%ADDRESS%"
if "%STATUS%"=="200" goto judge
if "%STATUS%"=="202" goto look
call :is_passing
if not errorlevel 1 goto look
goto rejected

:elsewhere
call :log "exit=1 the server named an address that is not its own"
goto end

:rejected
if "%STATUS:~0,1%"=="3" set "CODE=2"
if "%STATUS%"=="401" set "CODE=2"
if "%STATUS%"=="403" set "CODE=2"
call :log "exit=%CODE% RAINBO answered %STATUS%; 401 and 403: the token, 3xx: APP_URL must be final"
goto end

:judge
findstr /r /c:"\"success\": *true" "%WORK%\body" >nul
if not errorlevel 1 (
    set "CODE=0"
    call :log "exit=0 sync_ok"
    goto end
)
rem The worst that a run came to decides. Its states come first; without any, nothing was there.
findstr /r /c:"\"state\": *\"failed\"" /c:"\"state\": *\"lost\"" /c:"\"state\": *\"cancelled\"" "%WORK%\body" >nul
if not errorlevel 1 goto judged
findstr /r /c:"\"state\": *\"partial\"" /c:"\"state\": *\"held\"" "%WORK%\body" >nul
if not errorlevel 1 set "CODE=3"
if "%CODE%"=="3" goto judged
findstr /r /c:"\"state\": *\"skipped\"" "%WORK%\body" >nul
if not errorlevel 1 (
    set "CODE=75"
    call :log "exit=75 sync_skipped: another run of the sync was in progress"
    goto end
)
findstr /r /c:"\"state\": *\"" "%WORK%\body" >nul
if not errorlevel 1 goto judged
findstr /r /c:"\"success\": *null" "%WORK%\body" >nul
if not errorlevel 1 (
    set "CODE=4"
    call :log "exit=4 sync_none: nothing is connected, so nothing was synced"
    goto end
)
:judged
call :log "exit=%CODE% sync_fail: see the run in RAINBO"

:end
rmdir /s /q "%WORK%"
rmdir "%LOG_FILE%.lock"
exit /b %CODE%

rem The token goes to curl by its standard input: arguments are seen by others.
:send
set "STATUS=000"
type nul >"%WORK%\head"
type nul >"%WORK%\body"
(echo header = "Authorization: Bearer %OPERATOR_TOKEN%")| curl.exe --config - -s --request %1 --header "Content-Type: application/json" --header "Content-Length: 0" --connect-timeout 10 --max-time 60 --max-filesize 1000000 --proto "=http,https" --dump-header "%WORK%\head" --output "%WORK%\body" --write-out "%%{http_code}" "%~2" >"%WORK%\status"
if not errorlevel 1 set /p STATUS=<"%WORK%\status"
call :log "method=%1 status=%STATUS%"
exit /b 0

:is_passing
for %%S in (000 429 502 503 504) do if "%STATUS%"=="%%S" exit /b 0
exit /b 1

rem ping waits a second between two packets, also without a console, where timeout fails.
:pause
set /a PACKETS=PAUSE + 1
ping -n %PACKETS% 127.0.0.1 >nul
exit /b 0

:log
>>"%LOG_FILE%" echo %DATE% %TIME% call=%CALL% %~1
if errorlevel 1 exit /b 1
if "%DEBUG%"=="1" echo call=%CALL% %~1 1>&2
exit /b 0

:rotate
if not exist "%LOG_FILE%" exit /b 0
for %%I in ("%LOG_FILE%") do if %%~zI LSS 1000000 exit /b 0
for %%N in (4 3 2 1) do call :shift_log %%N
move /y "%LOG_FILE%" "%LOG_FILE%.1" >nul
exit /b 0

:shift_log
set /a NEXT=%1 + 1
if exist "%LOG_FILE%.%1" move /y "%LOG_FILE%.%1" "%LOG_FILE%.%NEXT%" >nul
exit /b 0
